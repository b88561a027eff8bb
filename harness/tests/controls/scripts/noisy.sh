# The engine's answers, with more on standard error before each than a pipe holds.
"$1" serve | while IFS= read -r answer; do
  awk 'BEGIN { for (i = 0; i < 4000; i++) print "a line of a log that is longer than sixty-four characters, every time" }' >&2
  printf '%s\n' "$answer"
done
