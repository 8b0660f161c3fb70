//! What both renderers are asked for, format by format.

/// A file, the options that both renderers are given for it, and how alike each of its pictures must be, in dB.
pub(super) type Format = (&'static str, &'static [&'static str], f64);

/// Of every kind one.
pub(super) const FAST: &[Format] = &[
    ("h265.mp4", &["--codec=h265"], 36.0),
    ("vp8.webm", &[], 36.0),
    (
        "vp9-alpha.webm",
        &[
            "--codec=vp9",
            "--pixel-format=yuva420p",
            "--image-format=png",
        ],
        30.0,
    ),
    ("prores.mov", &[], 40.0),
    (
        "709.mp4",
        &["--color-space=bt709", "--x264-preset=medium"],
        36.0,
    ),
    ("picture.gif", &[], 30.0),
];

pub(super) const H264: &[Format] = &[
    (
        "709-png.mp4",
        &[
            "--color-space=bt709",
            "--image-format=png",
            "--x264-preset=medium",
        ],
        36.0,
    ),
    (
        "2020.mp4",
        &["--color-space=bt2020-ncl", "--x264-preset=medium"],
        34.0,
    ),
    (
        "601-png.mp4",
        &[
            "--color-space=bt601",
            "--image-format=png",
            "--x264-preset=medium",
        ],
        36.0,
    ),
    (
        "every-second.mp4",
        &["--every-nth-frame=2", "--x264-preset=medium"],
        36.0,
    ),
    ("h264.mp4", &["--crf=18", "--x264-preset=medium"], 36.0),
    ("h264.mkv", &["--x264-preset=medium"], 36.0),
    ("h264.mov", &["--codec=h264", "--x264-preset=medium"], 36.0),
    (
        "h264-444.mp4",
        &["--pixel-format=yuv444p", "--x264-preset=medium"],
        36.0,
    ),
    (
        "h264-10.mp4",
        &["--pixel-format=yuv420p10le", "--x264-preset=medium"],
        36.0,
    ),
    (
        "h264-bitrate.mp4",
        &[
            "--video-bitrate=2M",
            "--buffer-size=4M",
            "--max-rate=3M",
            "--gop=4",
        ],
        32.0,
    ),
    (
        "h264-422.mp4",
        &["--pixel-format=yuv422p", "--x264-preset=medium"],
        36.0,
    ),
    (
        "h264-422-10.mp4",
        &["--pixel-format=yuv422p10le", "--x264-preset=medium"],
        36.0,
    ),
    (
        "h264-444-10.mp4",
        &["--pixel-format=yuv444p10le", "--x264-preset=medium"],
        36.0,
    ),
    (
        "h264-fast.mp4",
        &["--x264-preset=ultrafast", "--crf=23"],
        36.0,
    ),
    (
        "h264-twice.mp4",
        &["--scale=2", "--x264-preset=medium"],
        36.0,
    ),
];

pub(super) const H265: &[Format] = &[
    ("h265.mkv", &["--codec=h265"], 36.0),
    (
        "h265-yuv422p.mp4",
        &["--codec=h265", "--pixel-format=yuv422p"],
        36.0,
    ),
    (
        "h265-yuv444p.mp4",
        &["--codec=h265", "--pixel-format=yuv444p"],
        36.0,
    ),
    (
        "h265-yuv420p10le.mp4",
        &["--codec=h265", "--pixel-format=yuv420p10le"],
        36.0,
    ),
    (
        "h265-yuv422p10le.mp4",
        &["--codec=h265", "--pixel-format=yuv422p10le"],
        36.0,
    ),
    (
        "h265-yuv444p10le.mp4",
        &["--codec=h265", "--pixel-format=yuv444p10le"],
        36.0,
    ),
    ("h265-crf.mp4", &["--codec=h265", "--crf=35"], 30.0),
    (
        "h265-bitrate.mp4",
        &["--codec=h265", "--video-bitrate=1M"],
        30.0,
    ),
    (
        "709-h265.mp4",
        &["--codec=h265", "--color-space=bt709"],
        36.0,
    ),
    (
        "2020-h265.mp4",
        &["--codec=h265", "--color-space=bt2020-ncl"],
        34.0,
    ),
];

pub(super) const VP8_AND_VP9: &[Format] = &[
    ("709.webm", &["--codec=vp9", "--color-space=bt709"], 30.0),
    (
        "vp8-alpha.webm",
        &[
            "--codec=vp8",
            "--pixel-format=yuva420p",
            "--image-format=png",
        ],
        30.0,
    ),
    ("vp9.webm", &["--codec=vp9"], 30.0),
    (
        "vp9-444.webm",
        &["--codec=vp9", "--pixel-format=yuv444p"],
        30.0,
    ),
    ("vp8.mkv", &["--codec=vp8", "--audio-codec=pcm-16"], 36.0),
    ("vp8-crf.webm", &["--codec=vp8", "--crf=30"], 28.0),
    (
        "709-vp8.webm",
        &["--codec=vp8", "--color-space=bt709"],
        34.0,
    ),
    ("vp9.mkv", &["--codec=vp9", "--audio-codec=pcm-16"], 30.0),
    (
        "vp9-bitrate.webm",
        &["--codec=vp9", "--video-bitrate=1M"],
        28.0,
    ),
    (
        "vp9-yuv422p.webm",
        &["--codec=vp9", "--pixel-format=yuv422p"],
        30.0,
    ),
    (
        "vp9-yuv420p10le.webm",
        &["--codec=vp9", "--pixel-format=yuv420p10le"],
        30.0,
    ),
    (
        "vp9-yuv422p10le.webm",
        &["--codec=vp9", "--pixel-format=yuv422p10le"],
        30.0,
    ),
    (
        "vp9-yuv444p10le.webm",
        &["--codec=vp9", "--pixel-format=yuv444p10le"],
        30.0,
    ),
    (
        "2020.webm",
        &["--codec=vp9", "--color-space=bt2020-ncl"],
        30.0,
    ),
];

pub(super) const PRORES_AND_GIF: &[Format] = &[
    ("709.mov", &["--color-space=bt709"], 36.0),
    ("proxy.mov", &["--prores-profile=proxy"], 36.0),
    ("light.mov", &["--prores-profile=light"], 36.0),
    ("standard.mov", &["--prores-profile=standard"], 40.0),
    ("4444.mov", &["--prores-profile=4444"], 40.0),
    (
        "4444-alpha.mov",
        &[
            "--prores-profile=4444",
            "--pixel-format=yuva444p10le",
            "--image-format=png",
        ],
        40.0,
    ),
    ("4444-xq.mov", &["--prores-profile=4444-xq"], 40.0),
    ("prores.mkv", &["--codec=prores"], 40.0),
    ("2020.mov", &["--color-space=bt2020-ncl"], 34.0),
    (
        "4444-444.mov",
        &["--prores-profile=4444", "--pixel-format=yuv444p10le"],
        40.0,
    ),
    (
        "loops.gif",
        &[
            "--every-nth-frame=2",
            "--number-of-gif-loops=3",
            "--image-format=png",
        ],
        30.0,
    ),
];
