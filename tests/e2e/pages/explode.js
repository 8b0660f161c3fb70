window.explode = (frame) => { throw new RangeError("no such slide: " + frame); };
//# sourceMappingURL=explode.js.map
