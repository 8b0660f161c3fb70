import {Composition} from "remotion";
import {Html5, Media, Offthread} from "./Clips";
import {Fonts, type FontsProps} from "./Fonts";
import {Glass} from "./Glass";
import {Shapes} from "./Shapes";
import {Slide} from "./Slide";
import {Sound} from "./Sound";
import {Title, type TitleProps} from "./Title";

export const Root: React.FC = () => (
  <>
    <Composition
      id="Title"
      component={Title}
      width={640}
      height={360}
      fps={30}
      durationInFrames={60}
      defaultProps={{title: "Rendered by rmx", seconds: 2} as TitleProps}
      // The page itself decides how long it is: `--props '{"seconds": 4}'` makes it longer.
      calculateMetadata={({props}) => ({durationInFrames: Math.round(props.seconds * 30)})}
    />
    <Composition
      id="Fonts"
      component={Fonts}
      width={640}
      height={360}
      fps={30}
      durationInFrames={30}
      defaultProps={{google: null} as FontsProps}
    />
    <Composition id="Shapes" component={Shapes} width={1280} height={720} fps={30} durationInFrames={150} />
    <Composition id="Slide" component={Slide} width={1920} height={1080} fps={30} durationInFrames={150} />
    <Composition id="Glass" component={Glass} width={1920} height={1080} fps={30} durationInFrames={150} />
    <Composition id="Sound" component={Sound} width={320} height={180} fps={30} durationInFrames={60} />
    <Composition id="Media" component={Media} width={320} height={180} fps={30} durationInFrames={60} />
    <Composition id="Offthread" component={Offthread} width={320} height={180} fps={30} durationInFrames={60} />
    <Composition id="Html5" component={Html5} width={320} height={180} fps={30} durationInFrames={60} />
  </>
);
