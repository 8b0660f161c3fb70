import {AbsoluteFill, Img, interpolate, spring, staticFile, useCurrentFrame, useVideoConfig} from "remotion";

const CARDS = [
  {title: "Plan", text: "Every change, before it happens."},
  {title: "Apply", text: "One recorded step at a time."},
  {title: "Render", text: "Frames in parallel, one video."},
];

/** A 1080p slide: a photo that zooms, cards, bars and text. */
export const Slide: React.FC = () => {
  const frame = useCurrentFrame();
  const {fps, durationInFrames} = useVideoConfig();
  const zoom = interpolate(frame, [0, durationInFrames], [1, 1.18]);
  return (
    <AbsoluteFill style={{fontFamily: "DejaVu Sans, sans-serif", backgroundColor: "black"}}>
      <Img
        src={staticFile("hills.jpg")}
        style={{width: "100%", height: "100%", objectFit: "cover", transform: `scale(${zoom})`}}
      />
      <AbsoluteFill style={{background: "linear-gradient(180deg, rgba(2,6,23,.2), rgba(2,6,23,.85))"}} />
      <div style={{position: "absolute", left: 110, top: 100, color: "white", fontSize: 92, fontWeight: 700}}>
        A farm you can plan
      </div>
      <div style={{position: "absolute", left: 110, bottom: 300, display: "flex", gap: 48}}>
        {CARDS.map((card, index) => {
          const progress = spring({frame: frame - 12 - index * 10, fps, config: {damping: 15}});
          return (
            <div
              key={card.title}
              style={{
                width: 500,
                padding: 40,
                borderRadius: 28,
                backgroundColor: "rgba(255,255,255,.92)",
                boxShadow: "0 24px 60px rgba(0,0,0,.45)",
                opacity: progress,
                transform: `translateY(${(1 - progress) * 120}px)`,
              }}
            >
              <div style={{fontSize: 52, fontWeight: 700, color: "#1e1b4b"}}>{card.title}</div>
              <div style={{fontSize: 32, color: "#334155", marginTop: 12}}>{card.text}</div>
            </div>
          );
        })}
      </div>
      <svg width={1700} height={200} style={{position: "absolute", left: 110, bottom: 60}}>
        {Array.from({length: 34}, (_, index) => {
          const height = 30 + 120 * Math.abs(Math.sin(index / 3 + frame / 18));
          return <rect key={index} x={index * 50} y={200 - height} width={34} height={height} rx={6} fill="#818cf8" />;
        })}
      </svg>
    </AbsoluteFill>
  );
};
