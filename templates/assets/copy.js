// Shows the copy buttons where a script may run; without it the text is there to be selected.

/** @param {HTMLButtonElement} button */
function arm(button) {
  const source = document.getElementById(button.dataset.copies ?? "");
  const status = document.getElementById("copied");
  if (source === null || status === null) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent ?? "");
      button.textContent = "Copied";
      status.textContent = "Copied to the clipboard.";
    } catch {
      getSelection()?.selectAllChildren(source);
      status.textContent = "The browser did not allow it; the text is selected instead.";
    }
    setTimeout(() => {
      button.textContent = "Copy";
      status.textContent = "";
    }, 2500);
  });
}

if (navigator.clipboard !== undefined) document.querySelectorAll("button.copy").forEach(arm);
