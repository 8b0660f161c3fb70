// Compositions that are hard to get right, each in one way, and what pages may do beside drawing. Beside nasty.js.
"use strict";

(() => {
  const address = (name) => new URL(name, location.href).href;

  // Below the bar code.
  const below = (container, name) => {
    const element = document.createElement(name);
    Object.assign(element.style, {position: "absolute", left: "0", top: "90px", width: "320px", height: "90px"});
    container.appendChild(element);
    return element;
  };

  // Holds the renderer back until `work` is done.
  const during = (label, work) => {
    const handle = window.delayRender(label);
    work().then(() => requestAnimationFrame(() => window.continueRender(handle)), (error) => {
      window.remotion_cancelledError = String(error?.stack ?? error);
    });
  };

  scene("Once", numbered, {durationInFrames: 1});
  scene("Huge", numbered, {width: 3840, height: 2160, durationInFrames: 1});
  scene("Dot", numbered, {width: 1, height: 1, durationInFrames: 1});
  scene("Fast", numbered, {fps: 120});
  scene("Long", numbered, {durationInFrames: 10_000});

  // From frame 10 on there are words in a font that has to be fetched first.
  scene("LateFont", (container) => {
    const draw = numbered(container);
    const words = below(container, "div");
    Object.assign(words.style, {color: "white", fontSize: "60px", lineHeight: "90px"});
    const face = new FontFace("Late", `url(font.ttf?${Math.random()})`);
    document.fonts.add(face);
    return (frame) => {
      draw(frame);
      words.textContent = frame < 10 ? "" : "late";
      words.style.fontFamily = frame < 10 ? "" : "Late";
    };
  });

  // Two bright boxes that hardly move. All changes of the one, and of what is in the other, take their time.
  scene("Transits", (container) => {
    const draw = numbered(container);
    const boxes = ["0", "160px"].map((left) => {
      const box = below(container, "div");
      Object.assign(box.style, {left, width: "160px", background: "white"});
      return box;
    });
    const inner = boxes[1].appendChild(document.createElement("div"));
    Object.assign(inner.style, {width: "160px", height: "90px", background: "silver"});
    boxes[0].style.transition = inner.style.transition = "all 2s";
    return (frame) => {
      draw(frame);
      for (const box of boxes) box.style.transform = `scale(${1 + frame / 1e8})`;
    };
  });

  // Drawn by WebGL: a colour, and half of it in another one.
  scene("Webgl", (container) => {
    const draw = numbered(container);
    const canvas = below(container, "canvas");
    Object.assign(canvas, {width: 320, height: 90});
    const gl = canvas.getContext("webgl");
    if (gl === null) throw new Error("there is no WebGL");
    return (frame) => {
      draw(frame);
      gl.disable(gl.SCISSOR_TEST);
      gl.clearColor(0.2, frame / 30, 0.8, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(0, 0, 10 * frame, 45);
      gl.clearColor(1, 0.6, 0, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
    };
  });

  const allocate = () => {
    const hoard = [];
    for (;;) hoard.push(new Array(100_000).fill().map((_, n) => ({n})));
  };
  scene("Allocates", (container) => {
    const draw = numbered(container);
    return (frame) => {
      draw(frame);
      if (frame === 6) allocate();
    };
  });
  scene("AllocatesAtOnce", allocate);

  // A picture that is not there, and nobody cares.
  scene("Missing", (container) => {
    const draw = numbered(container);
    below(container, "img").src = "missing.jpg";
    return draw;
  });

  // A picture from another server: shown, not read.
  scene("Elsewhere", (container, {src}) => {
    const draw = numbered(container);
    const image = below(container, "img");
    image.src = src;
    during("a picture from elsewhere", () => image.decode());
    return draw;
  }, {defaultProps: {src: ""}, durationInFrames: 4});

  // A file of another server, read by the page.
  scene("Reads", (container, {src}) => {
    during("a file from elsewhere", () => fetch(src).then((answer) => answer.arrayBuffer()));
    return numbered(container);
  }, {defaultProps: {src: ""}, durationInFrames: 4});

  // A film of bar codes in the browser's own player: sought for each time in turn, it must show that frame.
  scene("Player", (container, {src, shown}) => {
    const video = below(container, "video");
    video.muted = true;
    const told = (event) => new Promise((resolve, reject) => {
      video.addEventListener(event, resolve, {once: true});
      video.addEventListener("error", () => reject(new Error(`${src}: ${video.error.message}`)), {once: true});
    });
    const canvas = new OffscreenCanvas(320, 180);
    const context = canvas.getContext("2d", {willReadFrequently: true});
    const number = () => {
      context.drawImage(video, 0, 0, 320, 180);
      const isLit = (bit) => context.getImageData(40 * bit + 20, 45, 1, 1).data[0] > 127;
      return [0, 1, 2, 3, 4, 5, 6, 7].filter(isLit).reduce((sum, bit) => sum + (1 << bit), 0);
    };
    during("a player", async () => {
      const loaded = told("loadeddata");
      video.src = src;
      await loaded;
      for (const [time, expected] of shown) {
        const sought = told("seeked");
        video.currentTime = time;
        await sought;
        // The event says where the player is; its picture may follow.
        for (let turn = 0; turn < 200 && number() !== expected; turn++) await new Promise((resolve) => setTimeout(resolve, 25));
        if (number() !== expected) throw new Error(`${src}: ${number()} is shown at ${time} s, not ${expected}`);
      }
    });
    return () => {};
  }, {defaultProps: {src: "", shown: []}, durationInFrames: 1});

  // Tries everything that leads to other servers: its bar code has a bit for each address that is reached.
  scene("Reaches", (container, {port}) => {
    const draw = numbered(container);
    let reached = 0;
    const fetched = (address) => fetch(address, {mode: "no-cors"});
    const worker = (address) => new Promise((resolve, reject) => {
      const script = `fetch("${address}", {mode: "no-cors"}).then(() => postMessage(true), () => postMessage(false))`;
      const worker = new Worker(URL.createObjectURL(new Blob([script])));
      worker.onmessage = ({data}) => data ? resolve() : reject();
    });
    const socket = (address) => new Promise((resolve, reject) => {
      const socket = new WebSocket(address);
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    during("other servers", async () => {
      const api = await (await fetch(`http://127.0.0.1:${port}/api`)).text();
      const next = `${api}/2018-06-01/runtime/invocation/next`;
      const local = next.replace("127.0.0.1", "localhost");
      await Promise.all([
        fetched(`http://127.0.0.1:${port}/`),
        fetched(`http://localhost:${port}/`),
        fetched(`http://${next}`),
        fetched(`http://${local}`),
        fetched(`http://127.0.0.1:${port}/to/${next}`),
        worker(`http://${next}`),
        socket(`ws://${local}`),
        fetched("http://169.254.169.254/latest/meta-data/"),
      ].map((trial, bit) => trial.then(() => { reached |= 1 << bit; }, () => {})));
      draw(reached);
    });
    return () => draw(reached);
  }, {defaultProps: {port: 0}, durationInFrames: 2});

  scene("Words", (container) => {
    const words = below(container, "div");
    Object.assign(words.style, {top: "0", height: "180px", color: "white", fontSize: "24px"});
    words.dir = "auto";
    words.textContent = "שלום עולם مرحبا بالعالم 🎬👩‍👩‍👧‍👦 abc 漢字 e\u0301";
    return () => {};
  }, {durationInFrames: 2});

  // Its bar code says how long the text is, in units of 65536 characters.
  scene("Echo", (container, {text}) => {
    const draw = numbered(container);
    return () => draw(text.length >> 16);
  }, {defaultProps: {text: ""}, durationInFrames: 2});

  // Which of the renderer's own things somebody else's frame in the page finds: a bit for each.
  scene("Framed", (container) => {
    const draw = numbered(container);
    let found = 255;
    during("the frame", () => new Promise((resolve) => {
      addEventListener("message", ({data}) => { found = data; resolve(); }, {once: true});
      const frame = below(container, "iframe");
      frame.sandbox = "allow-scripts";
      const names = ["remotion_inputProps", "remotion_envVariables", "__rmx", "__rmxSignal"];
      frame.srcdoc = `<script>const names = ${JSON.stringify(names)};
        parent.postMessage(names.reduce((bits, name, bit) => bits | (name in window) << bit, 0), "*")<\/script>`;
    }));
    return () => draw(found);
  }, {durationInFrames: 2});

  scene("Tells", (container) => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const variables = JSON.parse(window.remotion_envVariables);
    const told = `${navigator.userAgent} / ${dark} / ${variables.NAME} / ${variables.REMOTION_NAME}`;
    console.error(`told: ${told}`);
    below(container, "div").textContent = told;
    return numbered(container);
  }, {durationInFrames: 2});

  // What frame 5 waits for does not come at the first attempt, or never. One page lets nothing be laid over it from then on.
  const holds = (id, attempts, bare = false) => scene(id, (container) => {
    const draw = numbered(container);
    return (frame) => {
      draw(frame);
      if (frame === 5 && window.remotion_attempt < attempts) {
        if (bare) {
          new MutationObserver(() => window.__rmxTestPicture?.remove()).observe(document.documentElement, {childList: true});
        }
        window.delayRender("a slow answer", {retries: 1, timeoutInMilliseconds: 2_300});
      }
    };
  }, {durationInFrames: 10});
  holds("Holds", 2);
  holds("HoldsOn", 99);
  holds("HoldsBare", 2, true);

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

  // A film's frames as `<OffthreadVideo>` asks for them.
  const film = (id, src, transparent, toneMapped, durationInFrames = 8) => scene(id, (container) => {
    const image = below(container, "img");
    Object.assign(image.style, {top: "0", height: "180px"});
    return (frame) => during("a frame of a film", async () => {
      const asked = new URLSearchParams({src: address(src), time: frame / 10, transparent, toneMapped});
      const answer = await fetch(`http://localhost:${window.remotion_proxyPort}/proxy?${asked}`, {cache: "no-store"});
      if (!answer.ok) throw new Error(await answer.text());
      image.src = URL.createObjectURL(await answer.blob());
      await image.decode();
    });
  }, {fps: 10, durationInFrames});
  film("FilmCut", "cut.mp4", false, false, 14);
  film("FilmBright", "bright.mp4", false, true);
  film("FilmUnmapped", "bright.mp4", false, false);
  film("FilmClear", "clear.webm", true, false);
})();
