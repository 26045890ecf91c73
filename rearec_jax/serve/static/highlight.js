/** The item under the pointer or with the focus is marked wherever it appears. */

/** lit: called with the item's id, or null. Returns a function to call after things are drawn. */
export function followItems(root, lit) {
  let current = null;

  function mark() {
    for (const node of root.querySelectorAll("[data-item]")) node.classList.toggle("lit", node.dataset.item === current);
    lit(current);
  }

  function set(id) {
    if (id === current) return;
    current = id;
    mark();
  }

  const itemOf = (node) => node?.closest?.("[data-item]")?.dataset.item ?? null;
  const focused = () => itemOf(root.contains(document.activeElement) ? document.activeElement : null);
  root.addEventListener("pointerover", (event) => set(itemOf(event.target) ?? focused()));
  root.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && set(focused())); // a finger always leaves
  root.addEventListener("focusin", (event) => set(itemOf(event.target)));
  root.addEventListener("focusout", () => set(null));
  return mark;
}
