# The engine's answers, but to every question about logits that to the first one, under the right id.
"$1" serve | while IFS= read -r answer; do
  case $answer in
    *'"shape"'*)
      [ -n "$first" ] || first=${answer%,\"id\":*}
      printf '%s,"id":%s\n' "$first" "${answer##*,\"id\":}" ;;
    *) printf '%s\n' "$answer" ;;
  esac
done
