# As many rows as were asked for, of three tokens each.
. "${0%/*}/canned.sh"
misbehave() {
  f32=$(awk -v n="$n" 'BEGIN { for (i = 0; i < n; i++) printf "AACAPwAAgD8AAIA/" }')
  printf '{"id":%s,"shape":[%s,3],"f32":"%s"}\n' "$id" "$n" "$f32"
}
serve
