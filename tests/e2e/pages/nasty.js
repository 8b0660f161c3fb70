// Compositions that go wrong, or are hard to get right, each in one way. Beside bundles/hello/bundle.js, the contract.
"use strict";

(() => {
  const scene = (id, mount, more = {}) =>
    registerComposition({id, width: 320, height: 180, fps: 30, durationInFrames: 30, defaultProps: {}, mount, ...more});

  // A bar code of the frame's number: eight boxes, black or white.
  const numbered = (container) => {
    const boxes = Array.from({length: 8}, (_, bit) => {
      const box = document.createElement("div");
      Object.assign(box.style, {position: "absolute", left: `${bit * 40}px`, top: "0", width: "40px", height: "90px"});
      container.appendChild(box);
      return box;
    });
    return (frame) => boxes.forEach((box, bit) => {
      box.style.background = (frame >> bit) & 1 ? "white" : "black";
    });
  };

  // For the pages beside these.
  Object.assign(window, {scene, numbered});

  scene("Plain", numbered);

  // Colours of all kinds, moving, half-transparent and on nothing at all: small, for comparisons of formats.
  scene("Sticker", (container) => {
    const part = (style) => {
      const element = document.createElement("div");
      Object.assign(element.style, {position: "absolute", ...style});
      return container.appendChild(element);
    };
    part({left: "0", top: "0", width: "96px", height: "54px", background: "linear-gradient(90deg, #e11d48, #facc15, #22c55e)"});
    part({left: "0", top: "54px", width: "96px", height: "54px", background: "linear-gradient(0deg, #2563eb, #ffffff)"});
    const disc = part({top: "20px", width: "60px", height: "60px", borderRadius: "50%", background: "#d946ef", opacity: "0.5"});
    return (frame) => {
      disc.style.left = `${60 + 2 * frame}px`;
    };
  }, {width: 192, height: 108});

  scene("Throws", () => (frame) => {
    if (frame === 17) window.explode(frame);
  });

  scene("Rejects", () => (frame) => {
    if (frame === 17) Promise.reject(new Error("nobody caught this at frame 17"));
  });

  scene("NeverContinues", () => (frame) => {
    if (frame === 12) window.delayRender("waiting for a server that is down");
  });

  // Holds the renderer back without the contract's own timer, as a page that lost its timers would.
  scene("NeverReady", () => (frame) => {
    if (frame === 12) {
      Object.defineProperty(window, "remotion_renderReady", {get: () => false, set: () => {}});
    }
  });

  scene("Prompts", () => (frame) => {
    if (frame === 5) window.prompt("who is there?");
  });
  scene("Alerts", () => (frame) => {
    if (frame === 5) window.alert("is anybody there?");
  });

  scene("Cancels", () => (frame) => {
    if (frame === 9) window.cancelRender(new Error("the data is wrong"));
  });

  scene("Loops", () => (frame) => {
    if (frame === 8) for (;;);
  });

  scene("Logs", (container) => {
    const draw = numbered(container);
    return (frame) => {
      for (let line = 0; line < 500; line++) console.log(`frame ${frame}, line ${line}`);
      draw(frame);
    };
  });

  // From frame 10 on a picture is there, which has to be fetched and decoded first.
  scene("LateImage", (container) => {
    const draw = numbered(container);
    let image = null;
    return (frame) => {
      draw(frame);
      if (frame < 10 && image !== null) {
        image.remove();
        image = null;
      }
      if (frame >= 10 && image === null) {
        const handle = window.delayRender("the picture");
        image = new Image();
        Object.assign(image.style, {position: "absolute", left: "0", top: "90px", width: "320px", height: "90px"});
        image.src = `hills.jpg?${Math.random()}`;
        image.decode().then(() => requestAnimationFrame(() => window.continueRender(handle)), window.cancelRender);
        container.appendChild(image);
      }
    };
  });

  // Slow enough for somebody to end its browser meanwhile.
  scene("Slow", (container) => {
    const draw = numbered(container);
    return (frame) => {
      for (const end = performance.now() + 60; performance.now() < end; );
      draw(frame);
    };
  }, {durationInFrames: 80});

  // Sound that is not there, or is none, from frame 15 on.
  const hears = (id, file, more = {}) =>
    scene(id, (container) => {
      const draw = numbered(container);
      return (frame) => {
        draw(frame);
        window.remotion_collectAssets = () => frame < 15 ? [] : [{
          type: "audio", id: file, src: new URL(file, location.href).href, frame, volume: 1, mediaFrame: frame - 15,
          playbackRate: 1, toneFrequency: 1, audioStartFrame: 0, audioStreamIndex: 0, ...more,
        }];
      };
    });
  hears("HearsNothing", "missing.mp3");
  hears("HearsNoise", "broken.mp3");
  hears("HearsSecond", "two.mkv", {audioStreamIndex: 1});
  hears("HearsNoNumber", "broken.mp3", {playbackRate: NaN});

  // Waits in each frame, whatever the machine: two browsers are twice as fast.
  scene("Waits", (container) => {
    const draw = numbered(container);
    return (frame) => {
      draw(frame);
      const handle = window.delayRender("a slow answer");
      setTimeout(() => window.continueRender(handle), 200);
    };
  }, {durationInFrames: 100});

  scene("Still", (container) => {
    numbered(container)(5);
    return () => {};
  });

  // Tells whether another page of this browser was here before.
  const trace = `${localStorage.getItem("trace") ?? ""}${document.cookie}`;
  localStorage.setItem("trace", "stored");
  document.cookie = "trace=baked";
  scene("Traces", (container) => {
    const draw = numbered(container);
    return (frame) => {
      if (trace !== "") throw new Error(`a page before has left: ${trace}`);
      draw(frame);
    };
  }, {width: 1280, height: 720});

  scene("Odd", numbered, {width: 321});
  scene("Tiny", numbered, {width: 2, height: 2, durationInFrames: 1});
})();
