# The engine's answers, but to every question about logits the whole answer to the one before, its id included.
"$1" serve | while IFS= read -r answer; do
  case $answer in
    *'"shape"'*) printf '%s\n' "${before:-$answer}"; before=$answer ;;
    *) printf '%s\n' "$answer" ;;
  esac
done
