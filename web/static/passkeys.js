// Signs in with a passkey, confirms with one, or makes one. The server makes the options, and a form takes the answer.
// It also tells password managers which passkeys the server accepts, so that they stop offering others.

const forms = document.querySelectorAll("form[data-options]");
let request = new AbortController(); // the one to the browser: there is one at a time

for (const form of forms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(form).catch((error) => explain(form, error));
  });
  form.dataset.ready = "";
  if ("fills" in form.dataset) fill(form);
}

const told = document.getElementById("main").dataset;
signal("signalAllAcceptedCredentials", told.passkeys);
signal("signalCurrentUserDetails", told.passkeys);
signal("signalUnknownCredential", told.unknownPasskey);

// signal tells password managers something, if the browser can. Nothing depends on it.
function signal(method, json) {
  if (json) globalThis.PublicKeyCredential?.[method]?.(JSON.parse(json)).catch(() => {});
}

// fill has the browser offer passkeys in the e-mail field. Before the challenge is too old, it asks for another.
async function fill(form) {
  if (!(await globalThis.PublicKeyCredential?.isConditionalMediationAvailable?.())) return;
  const renew = setTimeout(() => fill(form), 9 * 60 * 1000);
  await answer(form, "conditional").catch((error) => {
    if (error.name !== "AbortError") clearTimeout(renew);
  });
}

// answer fills in the form and sends it.
async function answer(form, mediation) {
  request.abort();
  const { signal } = (request = new AbortController());
  const response = await fetch(form.dataset.options, { method: "POST", redirect: "error", signal });
  if (!response.ok) throw new Error(`the options were answered ${response.status}`);
  const options = await response.json();
  const credential = "new" in form.dataset
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options), signal })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options), mediation, signal });
  form.elements.answer.value = JSON.stringify(credential);
  const keep = document.getElementById("keep");
  if (keep) form.elements.keep.value = keep.checked ? "on" : "";
  form.submit();
}

function explain(form, { name }) {
  if (name === "AbortError") return;
  const said = form.querySelector("[role=alert]");
  said.textContent = globalThis.PublicKeyCredential ? sentences[name] ?? sentences.other : sentences.missing;
}

const sentences = {
  NotAllowedError: "No passkey was used. You can try again, or use another method.",
  InvalidStateError: "This device has a passkey for your account already.",
  SecurityError: "Passkeys don’t work at this address.",
  missing: "This browser can’t use passkeys here.",
  other: "That didn’t work. Please reload this page.",
};
