import {AbsoluteFill, interpolate, random, useCurrentFrame} from "remotion";

/** 1080p blur, backdrop-filter and many elements: as heavy as pages get without video. */
export const Glass: React.FC = () => {
  const frame = useCurrentFrame();
  return (
    <AbsoluteFill style={{backgroundColor: "#020617", fontFamily: "DejaVu Sans, sans-serif", overflow: "hidden"}}>
      <AbsoluteFill style={{filter: `blur(${interpolate(Math.sin(frame / 20), [-1, 1], [4, 18])}px)`}}>
        {Array.from({length: 160}, (_, index) => {
          const x = random(`x${index}`) * 1920 + 60 * Math.sin(frame / 25 + index);
          const y = random(`y${index}`) * 1080 + 60 * Math.cos(frame / 30 + index);
          const hue = Math.round(random(`hue${index}`) * 360);
          return (
            <div
              key={index}
              style={{
                position: "absolute",
                left: x - 60,
                top: y - 60,
                width: 120,
                height: 120,
                borderRadius: "50%",
                background: `radial-gradient(circle, hsl(${hue} 90% 60%), transparent 70%)`,
              }}
            />
          );
        })}
      </AbsoluteFill>
      {[0, 1, 2].map((index) => (
        <div
          key={index}
          style={{
            position: "absolute",
            left: 180 + index * 540,
            top: 300,
            width: 480,
            height: 480,
            borderRadius: 40,
            border: "2px solid rgba(255,255,255,.35)",
            backgroundColor: "rgba(255,255,255,.08)",
            backdropFilter: "blur(16px)",
            transform: `perspective(1400px) rotateY(${20 * Math.sin(frame / 30 + index)}deg)`,
            color: "white",
            fontSize: 72,
            fontWeight: 700,
            display: "flex",
            alignItems: "center",
            justifyContent: "center",
          }}
        >
          {["Cut", "Draw", "Stitch"][index]}
        </div>
      ))}
    </AbsoluteFill>
  );
};
