// The built-in smoke composition: a grid of flat colours. What each cell shows is defined in src/protocol/smoke.rs.
"use strict";

(() => {
  const COLUMNS = 8;
  const ROWS = 4;

  const colour = (frame, column, row) =>
    row === 0 && column < 5 ? 7 * ((frame >> column) & 1) : (frame + column + 2 * row) % 8;

  const css = (bits) => `rgb(${[0, 1, 2].map((bit) => 255 * ((bits >> bit) & 1)).join(", ")})`;

  registerComposition({
    id: "rmx-smoke",
    width: 320,
    height: 180,
    fps: 30,
    durationInFrames: 30,
    defaultProps: {},
    mount: (container) => {
      const cells = [];
      for (let row = 0; row < ROWS; row++) {
        for (let column = 0; column < COLUMNS; column++) {
          const node = document.createElement("div");
          Object.assign(node.style, {
            position: "absolute",
            left: `${(column * 320) / COLUMNS}px`,
            top: `${(row * 180) / ROWS}px`,
            width: `${320 / COLUMNS}px`,
            height: `${180 / ROWS}px`,
          });
          container.appendChild(node);
          cells.push({node, column, row});
        }
      }
      return (frame) => {
        for (const {node, column, row} of cells) node.style.backgroundColor = css(colour(frame, column, row));
      };
    },
  });
})();
