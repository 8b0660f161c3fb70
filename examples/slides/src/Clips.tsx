import {Audio, Video} from "@remotion/media";
import {AbsoluteFill, Html5Video, OffthreadVideo, Sequence, staticFile, useVideoConfig} from "remotion";

const [clip, sweep] = [staticFile("clip.mp4"), staticFile("sweep.m4a")];

/** A film and a sound that the page decodes itself and hands over sample by sample. */
export const Media: React.FC = () => (
  <AbsoluteFill style={{background: "#0f172a"}}>
    <Video src={clip} style={{width: "100%"}} volume={0.5} />
    <Sequence from={15} durationInFrames={30}>
      <Audio src={sweep} trimBefore={30} volume={0.5} />
    </Sequence>
  </AbsoluteFill>
);

/** A film whose frames come from the renderer: cut, and at another speed. */
export const Offthread: React.FC = () => {
  const {fps} = useVideoConfig();
  return (
    <AbsoluteFill style={{background: "#0f172a"}}>
      <OffthreadVideo src={clip} style={{width: "100%"}} />
      <Sequence from={fps}>
        <OffthreadVideo src={clip} trimBefore={fps} playbackRate={1.5} volume={0.5} style={{position: "absolute", width: "40%"}} />
      </Sequence>
    </AbsoluteFill>
  );
};

/** A film that the browser plays. */
export const Html5: React.FC = () => (
  <AbsoluteFill style={{background: "#0f172a"}}>
    <Html5Video src={clip} style={{width: "100%"}} />
  </AbsoluteFill>
);
