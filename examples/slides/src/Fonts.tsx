import lobster from "@fontsource/lobster/files/lobster-latin-400-normal.woff2";
import {loadFont} from "@remotion/fonts";
import {loadFontFromInfo} from "@remotion/google-fonts/from-info";
import {useEffect} from "react";
import {AbsoluteFill, interpolate, useCurrentFrame} from "remotion";

export type FontsProps = {google: string | null};

loadFont({family: "Lobster", url: lobster});

// What `@remotion/google-fonts/Pacifico` holds, but for the server.
const pacifico = (server: string) => ({
  fontFamily: "Pacifico",
  importName: "Pacifico",
  version: "v23",
  url: `${server}/css2?family=Pacifico`,
  unicodeRanges: {latin: "U+0000-00FF"},
  fonts: {normal: {"400": {latin: `${server}/s/pacifico/v23/latin.woff2`}}},
  subsets: ["latin"],
});

/** Words in fonts that are loaded: one of the bundle's own, and one of Google's servers or another address if it is given. */
export const Fonts: React.FC<FontsProps> = ({google}) => {
  const frame = useCurrentFrame();
  useEffect(() => {
    if (google !== null) loadFontFromInfo(pacifico(google), "normal", {weights: ["400"], subsets: ["latin"]});
  }, [google]);
  const spacing = interpolate(frame, [0, 30], [0, 6]);
  return (
    <AbsoluteFill style={{background: "#fdf6e3", alignItems: "center", justifyContent: "center", color: "#b58900"}}>
      <div style={{fontFamily: "Lobster", fontSize: 72, letterSpacing: spacing}}>Every frame the same</div>
      <div style={{fontFamily: "Pacifico", fontSize: 36}}>whichever worker draws it</div>
    </AbsoluteFill>
  );
};
