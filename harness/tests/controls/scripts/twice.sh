# The engine's answers, each of them twice.
"$1" serve | while IFS= read -r answer; do printf '%s\n%s\n' "$answer" "$answer"; done
