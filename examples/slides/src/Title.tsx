import {AbsoluteFill, interpolate, spring, useCurrentFrame, useVideoConfig} from "remotion";

export type TitleProps = {title: string; seconds: number};

/** A title that springs in over a slowly turning gradient. */
export const Title: React.FC<TitleProps> = ({title}) => {
  const frame = useCurrentFrame();
  const {fps, durationInFrames} = useVideoConfig();
  const scale = spring({frame, fps, config: {damping: 12}});
  const angle = interpolate(frame, [0, durationInFrames], [120, 200]);
  return (
    <AbsoluteFill
      style={{
        background: `linear-gradient(${angle}deg, #0f172a, #4338ca 60%, #db2777)`,
        alignItems: "center",
        justifyContent: "center",
        fontFamily: "DejaVu Sans, sans-serif",
      }}
    >
      <div style={{fontSize: 52, fontWeight: 700, color: "white", transform: `scale(${scale})`}}>{title}</div>
      <div style={{position: "absolute", bottom: 24, right: 32, fontSize: 18, color: "#c7d2fe"}}>frame {frame}</div>
    </AbsoluteFill>
  );
};
