# Ends in the middle of an answer.
. "${0%/*}/canned.sh"
misbehave() { printf '{"id":%s,"shape":[%s,768],"f32":"AAAA' "$id" "$n"; echo "cannot go on" >&2; exit 3; }
serve
