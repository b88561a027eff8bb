# Says as many rows as were asked for, and holds one less.
. "${0%/*}/canned.sh"
misbehave() { printf '{"id":%s,"shape":[%s,768],"f32":"%s"}\n' "$id" "$n" "$(rows $((n - 1)) AACAPwAAgD8AAIA/)"; }
serve
