# The engine, until somebody kills it with SIGKILL in the middle of the third answer of a llama: once, for which $2 is the mark.
"$1" serve | while IFS= read -r answer; do
  case $answer in
    *'"architecture":"llama"'*) llama=1 ;;
    *'"shape"'*) n=$((n + 1)) ;;
  esac
  if [ "$llama" = 1 ] && [ "$n" = 3 ] && [ ! -e "$2" ]; then
    : > "$2"
    printf '{"id":'
    kill -9 $$
    exit
  fi
  printf '%s\n' "$answer"
done
