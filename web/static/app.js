// Updates pages in place. They work without it too: browsers without scripts load them again.

const region = document.getElementById("live");

// Screen readers announce what changes in a live region, not what was there when the page loaded.
function announce(text) {
  region.textContent = text.trim().replace(/\s+/g, " ");
}

const notice = document.getElementById("notice");
if (notice) setTimeout(announce, 300, notice.textContent);

// The server does not know the person's time zone until a browser sends it or the person chooses one.
const zoneTo = document.querySelector("meta[name=zone-to]");
if (zoneTo) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  fetch(zoneTo.content, { method: "POST", body: new URLSearchParams({ zone }) }).catch(() => {});
}

const waits = [1, 1, 1, 2, 2, 3, 3, 5, 5, 5, 10, 10, 10]; // seconds: a minute, altogether

const fetching = document.querySelector("[data-fetching]");
if (fetching) follow(fetching);

// follow shows what is fetched as it arrives. If that takes too long, it shows a link to look again.
async function follow(shown) {
  for (const wait of waits) {
    await new Promise((done) => setTimeout(done, wait * 1000));
    const fresh = await ask(shown.dataset.fetching, shown.id).catch(() => null);
    if (!fresh) continue;
    const waiting = sources(shown);
    morph(shown, fresh);
    const come = [...waiting].filter((name) => !sources(shown).has(name));
    if (come.length > 0) announce(come.map((name) => `${name} is up to date`).join(". "));
    if (!shown.dataset.fetching) return;
  }
  const more = shown.querySelector(".more");
  more.hidden = false;
  announce(more.textContent);
}

// sources are the names of the providers from which something is being fetched.
function sources(shown) {
  return new Set([...shown.querySelectorAll("[data-source]:has(.fetching)")].map((part) => part.dataset.source));
}

async function ask(address, id) {
  const answer = await fetch(address, { redirect: "error" });
  if (!answer.ok) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(id);
}

// morph makes an element like a fresh one but keeps what the two have in common, so that the focus stays where it is and
// what is open stays open. A notice stays too: there has to be time to read it.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (hasWords(old) || hasWords(fresh)) {
    old.replaceChildren(...fresh.childNodes);
    return;
  }
  let next = old.firstElementChild;
  for (const child of [...fresh.children]) {
    let match = next;
    while (match && kind(match) !== kind(child)) match = match.nextElementSibling;
    if (!match) {
      old.insertBefore(child, next);
      continue;
    }
    next = removeUntil(next, match).nextElementSibling;
    morph(match, child);
  }
  removeUntil(next, null);
}

function removeUntil(element, end) {
  while (element !== end) {
    const next = element.nextElementSibling;
    if (element.id !== "notice") element.remove();
    element = next;
  }
  return end;
}

const kind = (element) => [element.localName, element.id, element.getAttribute("class")].join(" ");
const hasWords = (element) => [...element.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim() !== "");
