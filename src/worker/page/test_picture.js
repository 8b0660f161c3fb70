// Lays a grid of coloured cells over the page: in the top layer, out of reach of the page's own styles.
(side, rows) => {
  window.__rmxTestPicture?.remove();
  const host = document.createElement("div");
  window.__rmxTestPicture = host;
  host.popover = "manual";
  host.style.cssText = `all: initial !important; position: fixed !important; left: 0 !important; top: 0 !important;
    width: 100% !important; height: 100% !important; overflow: hidden !important; contain: strict !important`;
  const cells = rows.map((row, y) =>
    row.map((color, x) => {
      const cell = document.createElement("div");
      cell.style.cssText = `position: absolute; left: ${x * side}px; top: ${y * side}px; width: ${side}px; height: ${side}px; background: ${color}`;
      return cell;
    }),
  );
  host.attachShadow({mode: "closed"}).append(...cells.flat());
  document.documentElement.append(host);
  host.showPopover();
}
