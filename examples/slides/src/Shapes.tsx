import {AbsoluteFill, Sequence, interpolate, spring, useCurrentFrame, useVideoConfig} from "remotion";

const COLOURS = ["#f97316", "#22c55e", "#38bdf8", "#a855f7", "#f43f5e"];

const Orbit: React.FC = () => {
  const frame = useCurrentFrame();
  return (
    <svg width={1280} height={720} style={{position: "absolute"}}>
      {COLOURS.map((colour, index) => {
        const angle = frame / 22 + (index * Math.PI * 2) / COLOURS.length;
        const radius = 190 + 30 * Math.sin(frame / 15 + index);
        return (
          <g key={colour}>
            <circle cx={640 + radius * Math.cos(angle)} cy={360 + radius * Math.sin(angle)} r={26} fill={colour} />
            <path
              d={`M 640 360 L ${640 + radius * Math.cos(angle)} ${360 + radius * Math.sin(angle)}`}
              stroke={colour}
              strokeWidth={3}
            />
          </g>
        );
      })}
    </svg>
  );
};

const Words: React.FC<{text: string}> = ({text}) => {
  const frame = useCurrentFrame();
  const {fps} = useVideoConfig();
  return (
    <AbsoluteFill style={{alignItems: "center", justifyContent: "flex-end", paddingBottom: 60}}>
      <div style={{display: "flex", gap: 18}}>
        {text.split(" ").map((word, index) => {
          const progress = spring({frame: frame - index * 5, fps, config: {damping: 14}});
          return (
            <span
              key={word}
              style={{
                fontSize: 56,
                fontWeight: 700,
                color: "#e2e8f0",
                opacity: progress,
                transform: `translateY(${interpolate(progress, [0, 1], [60, 0])}px)`,
              }}
            >
              {word}
            </span>
          );
        })}
      </div>
    </AbsoluteFill>
  );
};

/** 720p text and shapes: cheap to draw, so it shows what a frame costs beside its drawing. */
export const Shapes: React.FC = () => (
  <AbsoluteFill style={{backgroundColor: "#0b1120", fontFamily: "DejaVu Sans, sans-serif"}}>
    <Orbit />
    <Sequence durationInFrames={75}>
      <Words text="Every chunk renders" />
    </Sequence>
    <Sequence from={75}>
      <Words text="at the same time" />
    </Sequence>
  </AbsoluteFill>
);
