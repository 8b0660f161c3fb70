// A Remotion project of one composition, for the commands that bundle one.
import {createElement} from "react";
import {AbsoluteFill, Composition, registerRoot, useCurrentFrame} from "remotion";

const Title = () => createElement(AbsoluteFill, {style: {backgroundColor: "white"}}, `frame ${useCurrentFrame()}`);
const size = {width: 320, height: 180, fps: 30, durationInFrames: 30};

registerRoot(() => createElement(Composition, {id: "Title", component: Title, ...size}));
