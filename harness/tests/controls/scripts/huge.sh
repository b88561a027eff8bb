# One line without end.
. "${0%/*}/canned.sh"
misbehave() { printf '{"id":%s,"shape":[%s,768],"f32":"' "$id" "$n"; yes AAAA | tr -d '\n'; }
serve
