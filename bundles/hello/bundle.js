// The name is the one that Remotion's own renderer looks for, so that it can render this page too.
// What a renderer expects of a page. A composition registers itself with
//
//   registerComposition({id, width, height, fps, durationInFrames, defaultProps, calculate?, mount})
//
// calculate(props)        optional: changes to width, height, fps or durationInFrames that depend on the props
// mount(container, props) builds the scene once and returns draw(frame), a pure function of the frame
//
// delayRender(label, {retries, timeoutInMilliseconds}) / continueRender(handle) hold the renderer back while something
// loads. With retries, the frame is drawn anew in another page when the time is over.
"use strict";

(() => {
  const compositions = new Map();
  const handles = new Map();
  let nextHandle = 1;
  let mounted = null;

  window.siteVersion = "11";
  window.remotion_version = "4.0.527";
  window.remotion_renderReady = true;
  window.remotion_cancelledError = undefined;
  window.remotion_delayRenderTimeouts = {};
  window.remotion_collectAssets = () => [];

  window.delayRender = (label = "(no label)", {retries = 0, timeoutInMilliseconds} = {}) => {
    const handle = nextHandle++;
    const timeout = Math.max(0, (timeoutInMilliseconds ?? window.remotion_puppeteerTimeout ?? 30000) - 2000);
    const retriesLeft = retries - ((window.remotion_attempt ?? 1) - 1);
    const again = retriesLeft > 0 ? ` Retries left: ${retriesLeft} - Rendering the frame will be retried.` : "";
    const timer = setTimeout(() => {
      window.remotion_cancelledError = new Error(
        `A delayRender() "${label}" was called but not cleared after ${timeout}ms.${again}`,
      ).stack;
    }, timeout);
    handles.set(handle, timer);
    window.remotion_delayRenderTimeouts[handle] = {label, startTime: Date.now(), timeout};
    window.remotion_renderReady = false;
    return handle;
  };

  window.continueRender = (handle) => {
    clearTimeout(handles.get(handle));
    handles.delete(handle);
    delete window.remotion_delayRenderTimeouts[handle];
    window.remotion_renderReady = handles.size === 0;
  };

  window.cancelRender = (error) => {
    window.remotion_cancelledError = error instanceof Error ? error.stack : String(error);
    throw error;
  };

  const find = (id) => {
    const composition = compositions.get(id);
    if (!composition) {
      throw new Error(`Could not find composition with ID ${id}. Available: ${[...compositions.keys()].join(", ")}`);
    }
    return composition;
  };

  // What the renderer learns of a composition, with the input props laid over the default ones.
  const describe = (composition) => {
    const props = {...composition.defaultProps, ...JSON.parse(window.remotion_inputProps ?? "{}")};
    const calculated = {...composition, ...composition.calculate?.(props)};
    return {
      id: composition.id,
      width: calculated.width,
      height: calculated.height,
      fps: calculated.fps,
      durationInFrames: calculated.durationInFrames,
      serializedResolvedPropsWithCustomSchema: JSON.stringify(props),
      serializedDefaultPropsWithCustomSchema: JSON.stringify(composition.defaultProps),
      defaultCodec: null,
      defaultOutName: null,
      defaultVideoImageFormat: null,
      defaultPixelFormat: null,
      defaultProResProfile: null,
      defaultSampleRate: null,
    };
  };

  window.remotion_getCompositionNames = () => [...compositions.keys()];
  window.getStaticCompositions = async () => [...compositions.values()].map(describe);
  window.remotion_calculateComposition = async (id) => describe(find(id));

  const mount = (composition, props) => {
    const container = document.getElementById("video-container");
    container.replaceChildren();
    container.style.width = `${composition.width}px`;
    container.style.height = `${composition.height}px`;
    return composition.mount(container, props);
  };

  window.remotion_setBundleMode = (mode) => {
    if (mode.type !== "composition") return;
    const handle = window.delayRender("Setting up the composition");
    const composition = find(mode.compositionName);
    const size = {width: mode.compositionWidth, height: mode.compositionHeight};
    mounted = {
      frame: null,
      draw: mount({...composition, ...size}, JSON.parse(mode.serializedResolvedPropsWithSchema)),
    };
    mounted.draw(window.remotion_initialFrame ?? 0);
    requestAnimationFrame(() => window.continueRender(handle));
  };

  window.remotion_setFrame = (frame, _composition, attempt) => {
    window.remotion_attempt = attempt;
    if (frame === mounted.frame) return;
    mounted.frame = frame;
    const handle = window.delayRender(`Setting the current frame to ${frame}`);
    mounted.draw(frame);
    requestAnimationFrame(() => window.continueRender(handle));
  };

  window.registerComposition = (composition) => compositions.set(composition.id, composition);

  // Opened by a person: play the first composition, scaled to the window.
  window.addEventListener("load", () => {
    if (window.remotion_puppeteerTimeout !== undefined) return;
    const [composition] = compositions.values();
    const draw = mount(composition, composition.defaultProps);
    const container = document.getElementById("video-container");
    const play = (time) => {
      container.style.transform = `scale(${Math.min(innerWidth / composition.width, innerHeight / composition.height)})`;
      draw(Math.floor((time / 1000) * composition.fps) % composition.durationInFrames);
      requestAnimationFrame(play);
    };
    requestAnimationFrame(play);
  });
})();
