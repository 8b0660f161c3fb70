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
  let request = 0;

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
    return error === undefined || error === null ? null : String(error.stack ?? error);
  };

  // What the frame asks for beside its picture; only what the host has to know.
  const assets = () =>
    (window.remotion_collectAssets?.() ?? [])
      .filter((asset) => asset.volume !== 0)
      .slice(0, 10)
      .map((asset) => ({
        type: String(asset.type),
        name: String(asset.src ?? asset.filename ?? asset.id ?? "").slice(0, 300),
      }));

  const check = (of, describe) => () => {
    if (of !== request) return;
    const error = cancelled();
    if (error !== null) return signal({state: "cancelled", error});
    const fonts = document.fonts.status !== "loaded";
    if (window.remotion_renderReady !== true || fonts) {
      requestAnimationFrame(check(of, describe));
      return signal({state: "waiting", holds: holds(), fonts});
    }
    signal({state: "ready", ...describe()});
  };

  // Runs `change`, lets the page settle, and says "armed": the next animation frame tells how it went.
  const arm = (of, change, describe) => {
    request = of;
    try {
      change();
    } catch (error) {
      return signal({state: "threw", error: String(error?.stack ?? error)});
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
        () => ({frame, assets: assets()}),
      ),
  };

  for (const name of ["alert", "confirm"]) {
    window[name] = (text) => {
      window.remotion_cancelledError = new Error(`window.${name}() was called: ${String(text).slice(0, 500)}`).stack;
    };
  }
})();
//# sourceURL=rmx-driver.js
