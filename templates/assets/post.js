// Sends the one form of the page on its way; without a script the person does, by its button.

const form = document.getElementById("post");
if (form instanceof HTMLFormElement) form.submit();
