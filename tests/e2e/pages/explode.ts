// What the page below was made from, so far as the source map tells.
export const explode = (frame: number): never => {
  throw new RangeError(`no such slide: ${frame}`);
};
