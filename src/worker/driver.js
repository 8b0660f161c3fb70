// The page's half of the capture loop. Injected before any script of the page runs.
//
// The host shows one frame at a time: set(k) makes the page draw frame k and says "armed" once the scripts that this
// sets off have run. The host then asks the browser for a picture; the animation frame which that brings about says
// "ready" if nothing holds the renderer back, and then that very picture is frame k. Otherwise it says "waiting", the
// host asks for further pictures, and the first one whose animation frame says "ready" counts.
//
// Messages go out through the binding __rmxSignal, each with the number of the request it answers.
"use strict";
(() => {
  if (window.__rmx !== undefined) return;
  // A dialog would wait for somebody.
  for (const name of ["alert", "confirm", "prompt"]) {
    window[name] = (text) => {
      window.remotion_cancelledError = new Error(`window.${name}() was called: ${String(text).slice(0, 500)}`).stack;
    };
  }
  // What the page embeds may be anybody's: it speaks for no frame of ours.
  if (window !== window.top) {
    delete window.__rmxSignal;
    return;
  }
  let request = 0;
  // Nobody reads more of an error.
  const TEXT_MAX = 65536;

  const signal = (message) => window.__rmxSignal(JSON.stringify({request, ...message}));

  // Frameworks render in tasks of their own, posted when state is set and when effects follow from it. Two hops
  // through the task queue behind them let those run first.
  const hop = (then) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      then();
    };
    channel.port2.postMessage(null);
  };
  const settle = (then) => Promise.resolve().then(() => Promise.resolve()).then(() => hop(() => hop(then)));

  const holds = () =>
    Object.values(window.remotion_delayRenderTimeouts ?? {})
      .slice(0, 20)
      .map((hold) => String(hold?.label ?? "(no label)").slice(0, 300));

  const cancelled = () => {
    const error = window.remotion_cancelledError;
    return error === undefined || error === null ? null : String(error.stack ?? error).slice(0, TEXT_MAX);
  };

  // Addresses can be long (`data:`), so each crosses over once; its number stands for it afterwards.
  const sources = new Map();
  const number = (src, fresh) => {
    if (!sources.has(src)) {
      sources.set(src, sources.size);
      fresh.push(src);
    }
    return sources.get(src);
  };

  // 16-bit samples as base64, in pieces that fit into the arguments of a call.
  const base64 = (samples) => {
    const bytes = new Uint8Array(Int16Array.from(samples).buffer);
    let text = "";
    for (let at = 0; at < bytes.length; at += 0x8000) {
      text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    }
    return btoa(text);
  };

  // A number of a sound. JSON has no others than finite ones.
  const finite = (asset, name, otherwise) => {
    const value = asset[name] ?? otherwise;
    if (Number.isFinite(value)) return value;
    throw new Error(`the sound ${String(asset.id).slice(0, 300)} has ${value} as its ${name}, which is no finite number`);
  };

  // What the frame asks for beside its picture, and the addresses that are new in it.
  const assets = () => {
    const fresh = [];
    const heard = ["audio", "video", "inline-audio"];
    const wanted = ({type}) => window.remotion_audioEnabled || !heard.includes(type);
    const assets = (window.remotion_collectAssets?.() ?? []).filter(wanted).map((asset) => {
      if (asset.type === "audio" || asset.type === "video") {
        return {
          media: {
            id: String(asset.id),
            source: number(String(asset.src), fresh),
            volume: Number.isFinite(asset.volume) ? asset.volume : 0,
            media_frame: finite(asset, "mediaFrame"),
            playback: {
              rate: finite(asset, "playbackRate", 1),
              tone_frequency: finite(asset, "toneFrequency", 1),
              start_frame: finite(asset, "audioStartFrame", 0),
              stream: finite(asset, "audioStreamIndex", 0),
            },
          },
        };
      }
      if (asset.type === "inline-audio") {
        return {
          samples: {
            id: String(asset.id),
            frame: finite(asset, "frame"),
            tone_frequency: finite(asset, "toneFrequency", 1),
            data: base64(asset.audio),
          },
        };
      }
      if (asset.type === "artifact") {
        const content = {
          text: () => ({text: String(asset.content)}),
          binary: () => ({binary: String(asset.content)}),
          thumbnail: () => "thumbnail",
        }[asset.contentType];
        if (content !== undefined) {
          return {artifact: {name: String(asset.filename).slice(0, 1000), content: content()}};
        }
      }
      const name = String(asset.filename ?? asset.src ?? asset.id ?? "").slice(0, 300);
      return {other: {kind: String(asset.type), name}};
    });
    return {assets, sources: fresh};
  };

  // The browser does not paint again what moves by less than about a hundred-thousandth: such a frame shows what was painted
  // for an earlier one, and looks otherwise where a chunk begins with it. Words on their last way to their place are then
  // drawn with other edges. The official renderer paints all of each frame; here that is done with what moves so little.
  const NUMBER = /-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?/g;
  // What one moves by, others may multiply: ten times what the browser takes for nothing, in pixels and in degrees.
  const little = (text) => (/deg|grad|rotate|skew/.test(text) ? 1e-2 : 1e-4);
  const restyled = new Set();
  const places = new WeakMap();
  const note = (records) => records.forEach(({target}) => restyled.add(target));
  const observer = new MutationObserver(note);
  observer.observe(document, {subtree: true, attributes: true, attributeFilter: ["style", "transform"]});

  // `style` itself is read with six digits.
  const exactly = (element) =>
    Array.from(element.attributeStyleMap?.get("transform") ?? [], (part) =>
      [part.x, part.y, part.z, part.angle, part.ax, part.ay, part.length]
        .map((value) => value?.value ?? String(value ?? ""))
        .concat(part.matrix?.toFloat64Array().join() ?? "")
        .join(),
    ).join();

  // What is only carried elsewhere, by less than is seen, is drawn with the same edges.
  const TURNS = /scale|rotate|skew|matrix|perspective/;

  const movesLittle = (element) => {
    const {transform = "", rotate = "", scale = ""} = element.style ?? {};
    const own = (rotate && ` rotate ${rotate}`) + (scale && ` scale ${scale}`);
    const text = `${element.getAttribute("transform") ?? ""};${transform};${own}`;
    const before = places.get(element);
    if (text === before?.text) {
      if (!TURNS.test(text)) return false;
      // Of these there is nothing more exact to be had.
      if (own !== "") return true;
      const exact = exactly(element);
      places.set(element, {text, exact});
      return exact !== before.exact;
    }
    places.set(element, {text});
    if (!TURNS.test(text + before?.text)) return false;
    // Nobody knows from where it moves.
    if (before === undefined) return true;
    const [from, to] = [before.text, text].map((text) => (text.match(NUMBER) ?? []).map(Number));
    const alike = before.text.replace(NUMBER, "") === text.replace(NUMBER, "") && from.length === to.length;
    return !alike || from.every((number, at) => Math.abs(number - to[at]) < little(text));
  };

  // What was hidden for a moment is painted anew.
  const repaint = ({style}) => {
    const [value, priority] = [style.getPropertyValue("visibility"), style.getPropertyPriority("visibility")];
    style.setProperty("visibility", "hidden", "important");
    return () => style.setProperty("visibility", value, priority);
  };
  const repaintWhatHardlyMoves = () => {
    note(observer.takeRecords());
    const hardly = Array.from(restyled).filter((element) => element.isConnected && movesLittle(element));
    restyled.clear();
    if (hardly.length === 0) return;
    const show = hardly.map(repaint);
    // Only styles that are asked for are computed.
    hardly.forEach((element) => getComputedStyle(element).visibility);
    show.forEach((again) => again());
    observer.takeRecords();
  };

  const check = (of, describe) => () => {
    if (of !== request) return;
    const error = cancelled();
    if (error !== null) return signal({state: "cancelled", error});
    repaintWhatHardlyMoves();
    // A font is asked for when words are laid out in it, and that would come after this: have it done now.
    void document.body?.offsetHeight;
    const fonts = document.fonts.status !== "loaded";
    if (window.remotion_renderReady !== true || fonts) {
      requestAnimationFrame(check(of, describe));
      return signal({state: "waiting", holds: holds(), fonts});
    }
    let described;
    try {
      described = describe();
    } catch (error) {
      return signal({state: "broken", error: String(error?.message ?? error).slice(0, TEXT_MAX)});
    }
    signal({state: "ready", ...described});
  };

  // Runs `change`, lets the page settle, and says "armed": the next animation frame tells how it went.
  const arm = (of, change, describe) => {
    request = of;
    try {
      change();
    } catch (error) {
      return signal({state: "threw", error: String(error?.stack ?? error).slice(0, TEXT_MAX)});
    }
    settle(() => {
      if (of !== request) return;
      requestAnimationFrame(check(of, describe));
      signal({state: "armed"});
    });
  };

  window.__rmx = {
    // Waits for the page to be ready, after a change of what it shows.
    wait: (of) => arm(of, () => {}, () => ({})),
    set: (of, frame, composition, attempt, background) =>
      arm(
        of,
        () => {
          window.remotion_setFrame(frame, composition, attempt);
          document.body.style.background = background;
        },
        () => ({frame, ...assets()}),
      ),
  };
})();
//# sourceURL=rmx-driver.js
