// The arena's keys: A, B, T (a tie) and X (both bad), wherever nobody is typing.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const at = event.target;
  if (at instanceof Element && at.closest("input, textarea, select, [contenteditable=true]")) return;
  const names = { a: "vote-left", b: "vote-right", t: "vote-tie", x: "vote-both-bad" };
  const button = document.getElementById(names[event.key.toLowerCase()] ?? "");
  if (button === null || button.offsetParent === null || button.disabled) return;
  event.preventDefault();
  button.click();
});
