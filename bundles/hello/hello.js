// What rmx does, as a picture: workers fill their chunks at the same time, the chunks become one film.
"use strict";

(() => {
  const ROWS = 6;
  const CELLS = 8;
  const COLOURS = ["#f97316", "#facc15", "#4ade80", "#22d3ee", "#818cf8", "#f472b6"];
  // How many frames each worker needs for one cell: no two are equally fast.
  const PACE = [4.3, 5.4, 3.8, 5.9, 4.6, 5.1];

  const clamp = (value) => Math.min(1, Math.max(0, value));
  const between = (frame, start, end) => clamp((frame - start) / (end - start));
  const easeInOut = (t) => (t < 0.5 ? 4 * t * t * t : 1 - (-2 * t + 2) ** 3 / 2);
  const easeOut = (t) => 1 - (1 - t) ** 3;
  const mix = (from, to, t) => from + (to - from) * t;

  const element = (parent, style, text = "") => {
    const node = document.createElement("div");
    Object.assign(node.style, {position: "absolute", ...style});
    node.textContent = text;
    parent.appendChild(node);
    return node;
  };

  const mount = (container, props) => {
    const glow = element(container, {inset: "0"});
    const labels = COLOURS.map((colour, row) =>
      element(
        container,
        {left: "96px", top: `${132 + row * 84}px`, width: "180px", height: "56px", lineHeight: "56px",
          fontSize: "22px", color: colour, whiteSpace: "nowrap"},
        `worker ${row + 1}`,
      ),
    );
    const cells = [];
    for (let row = 0; row < ROWS; row++) {
      for (let column = 0; column < CELLS; column++) {
        const cell = element(container, {borderRadius: "6px", overflow: "hidden", backgroundColor: "#141a2e"});
        const fill = element(cell, {left: "0", top: "0", bottom: "0", backgroundColor: COLOURS[row]});
        cells.push({row, column, cell, fill});
      }
    }
    const title = element(
      container,
      {left: "0", right: "0", top: "190px", textAlign: "center", fontSize: "84px", fontWeight: "700",
        color: "white", whiteSpace: "nowrap"},
      `Hello, ${props.name}`,
    );
    const subtitle = element(
      container,
      {left: "0", right: "0", top: "310px", textAlign: "center", fontSize: "28px", color: "#a5b4fc"},
      "planned, applied, rendered in parallel, stitched into one video",
    );
    const head = element(container, {top: "436px", width: "4px", height: "96px", borderRadius: "2px",
      backgroundColor: "white"});

    return (frame) => {
      const join = easeInOut(between(frame, 62, 92));
      glow.style.background =
        `radial-gradient(circle at ${mix(30, 70, frame / 150)}% 40%, #1e1b4b, #05070f 65%)`;
      for (const {row, column, cell, fill} of cells) {
        const index = row * CELLS + column;
        // In the grid each row is a worker; in the film all cells stand side by side.
        cell.style.left = `${mix(288 + column * 112, 72 + index * 23.7, join)}px`;
        cell.style.top = `${mix(132 + row * 84, 452, join)}px`;
        cell.style.width = `${mix(100, 22.5, join)}px`;
        cell.style.height = `${mix(56, 64, join)}px`;
        const done = clamp((frame - 6 - column * PACE[row]) / PACE[row]);
        fill.style.width = `${done * 100}%`;
        cell.style.opacity = `${easeOut(between(frame, row * 2, row * 2 + 10))}`;
      }
      labels.forEach((label, row) => {
        label.style.opacity = `${easeOut(between(frame, row * 2, row * 2 + 10)) * (1 - between(frame, 58, 68))}`;
      });
      const arrive = easeOut(between(frame, 92, 112));
      title.style.opacity = `${arrive}`;
      title.style.transform = `translateY(${(1 - arrive) * 40}px)`;
      subtitle.style.opacity = `${between(frame, 102, 120)}`;
      head.style.opacity = `${between(frame, 96, 100)}`;
      head.style.left = `${mix(72, 1206, between(frame, 98, 149))}px`;
    };
  };

  window.registerComposition({
    id: "hello",
    width: 1280,
    height: 720,
    fps: 30,
    durationInFrames: 150,
    defaultProps: {name: "world"},
    mount,
  });
})();
