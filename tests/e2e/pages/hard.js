// Compositions that are hard to get right, each in one way, and what pages may do beside drawing. Beside nasty.js.
"use strict";

(() => {
  // Below the bar code.
  const below = (container, name) => {
    const element = document.createElement(name);
    Object.assign(element.style, {position: "absolute", left: "0", top: "90px", width: "320px", height: "90px"});
    container.appendChild(element);
    return element;
  };

  scene("Huge", numbered, {width: 3840, height: 2160, durationInFrames: 1});
  scene("Dot", numbered, {width: 1, height: 1, durationInFrames: 1});
  scene("Fast", numbered, {fps: 120});

  scene("Allocates", (container) => {
    const draw = numbered(container);
    return (frame) => {
      draw(frame);
      if (frame !== 6) return;
      const hoard = [];
      for (;;) hoard.push(new Array(100_000).fill().map((_, n) => ({n})));
    };
  });

  // A picture that is not there, and nobody cares.
  scene("Missing", (container) => {
    const draw = numbered(container);
    below(container, "img").src = "missing.jpg";
    return draw;
  });

  scene("Words", (container) => {
    const words = below(container, "div");
    Object.assign(words.style, {top: "0", height: "180px", color: "white", fontSize: "24px"});
    words.dir = "auto";
    words.textContent = "שלום עולם مرحبا بالعالم 🎬👩‍👩‍👧‍👦 abc 漢字 e\u0301";
    return () => {};
  }, {durationInFrames: 2});

  scene("Tells", (container) => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const variables = JSON.parse(window.remotion_envVariables);
    console.error(`told: ${navigator.userAgent} / ${dark} / ${variables.NAME} / ${variables.REMOTION_NAME}`);
    return numbered(container);
  }, {durationInFrames: 2});

  // What frame 5 waits for does not come at the first attempt, or never.
  const holds = (id, attempts) => scene(id, (container) => {
    const draw = numbered(container);
    return (frame) => {
      draw(frame);
      if (frame === 5 && window.remotion_attempt < attempts) {
        window.delayRender("a slow answer", {retries: 1, timeoutInMilliseconds: 2_300});
      }
    };
  }, {durationInFrames: 10});
  holds("Holds", 2);
  holds("HoldsOn", 99);

  const emits = (id, files) => scene(id, (container) => {
    const draw = numbered(container);
    return (frame) => {
      draw(frame);
      const emitted = files.filter((file) => file.frame === frame);
      window.remotion_collectAssets = () => emitted.map((file) => ({type: "artifact", id: "1", downloadBehavior: null, ...file}));
    };
  });
  emits("Emits", [
    {frame: 3, filename: "words.txt", contentType: "text", content: "frame three"},
    {frame: 20, filename: "sub/bytes.bin", contentType: "binary", content: btoa("caf\u00e9")},
    {frame: 21, filename: "thumbnail.jpeg", contentType: "thumbnail"},
  ]);
  const twice = {filename: "words.txt", contentType: "text", content: "again"};
  emits("EmitsTwice", [{frame: 4, ...twice}, {frame: 24, ...twice}]);
  emits("EmitsOutside", [{frame: 4, ...twice, filename: "../../words.txt"}]);
})();
