import {AbsoluteFill, Html5Audio, Loop, Sequence, interpolate, staticFile, useCurrentFrame, useVideoConfig} from "remotion";

const sweep = staticFile("sweep.m4a");

/** A beep as a data: address: a WAV file, 16 bit, one channel. */
const beep = (() => {
  const [rate, count] = [8000, 1600];
  const bytes = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at: number, value: string) => [...value].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, 2 * count, true);
  for (let i = 0; i < count; i++) bytes.setInt16(44 + 2 * i, 8000 * Math.sin((2 * Math.PI * 880 * i) / rate), true);
  return "data:audio/wav;base64," + btoa(String.fromCharCode(...new Uint8Array(bytes.buffer)));
})();

/** Everything that sound can be asked for: curves, cuts, speed, tone, loops, addresses, several at once. */
export const Sound: React.FC = () => {
  const frame = useCurrentFrame();
  const {fps, durationInFrames} = useVideoConfig();
  const at = (seconds: number) => Math.round(seconds * fps);
  return (
    <AbsoluteFill style={{background: "#0f172a", justifyContent: "center", alignItems: "center"}}>
      <div style={{width: `${(100 * (frame + 1)) / durationInFrames}%`, height: 24, background: "#818cf8", alignSelf: "flex-start"}} />
      <Html5Audio src={sweep} volume={(f) => interpolate(f, [0, at(0.5), at(1)], [0.1, 0.6, 0.3], {extrapolateRight: "clamp"})} />
      <Sequence from={at(0.5)} durationInFrames={at(0.5)}>
        <Html5Audio src={sweep} trimBefore={at(1)} playbackRate={1.5} volume={0.5} />
      </Sequence>
      <Sequence from={at(1)} durationInFrames={at(0.5)}>
        <Html5Audio src={sweep} toneFrequency={0.8} volume={0.5} />
      </Sequence>
      <Loop durationInFrames={at(0.2)} times={3}>
        <Html5Audio src={beep} volume={0.4} />
      </Loop>
      <Html5Audio src={sweep} muted />
    </AbsoluteFill>
  );
};
