# What rmx needs on a machine beside Rust, and how a Debian or Ubuntu machine gets it. Sourced, not run.

# need COMMAND PACKAGE WHY: notes PACKAGE for installation if COMMAND is not there.
missing_packages=()
need() {
  local command=$1 package=$2 why=$3
  command -v "$command" >/dev/null 2>&1 && return
  printf '  %-24s %s\n' "$package" "$why" >&2
  missing_packages+=("$package")
}

# need_font: a machine without any font draws pages without any text.
need_font() {
  [ -n "$(find /usr/share/fonts /usr/local/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts" \
    \( -name '*.ttf' -o -name '*.otf' \) -print -quit 2>/dev/null)" ] && return
  printf '  %-24s %s\n' fonts-dejavu-core "a font, so that pages have text" >&2
  missing_packages+=(fonts-dejavu-core)
}

# install_missing: installs what `need` noted, from the system's own packages.
install_missing() {
  [ ${#missing_packages[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null 2>&1 || {
    echo "This machine has no apt-get: install the packages above (or their like) by hand and run this again." >&2
    return 1
  }
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "Not root and no sudo: install them by hand." >&2; return 1; }
    sudo=(sudo)
  fi
  echo "Installing with apt-get: ${missing_packages[*]}" >&2
  "${sudo[@]}" apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends \
    "${missing_packages[@]}" >&2 </dev/null
  missing_packages=()
}

# find_chromium: prints the headless shell's path, if there is one.
find_chromium() {
  local candidate
  for candidate in "${RMX_CHROMIUM:-}" chromium-headless-shell chrome-headless-shell headless_shell \
    "$HOME/.local/bin/chromium-headless-shell"; do
    [ -n "$candidate" ] && command -v "$candidate" 2>/dev/null && return
  done
  return 1
}

# need_chromium: the headless shell (the full browser lacks the frame control that rmx draws with).
need_chromium() {
  find_chromium >/dev/null && return
  printf '  %-24s %s\n' chromium-headless-shell "the browser that draws the frames" >&2
  command -v apt-get >/dev/null 2>&1 && {
    if [ "$(id -u)" = 0 ]; then apt-get update -qq >&2; elif command -v sudo >/dev/null; then sudo apt-get update -qq >&2; fi
  }
  if apt-cache show chromium-headless-shell >/dev/null 2>&1; then
    missing_packages+=(chromium-headless-shell)
  else
    # Ubuntu ships Chromium as a snap, without the headless shell. The one packed for Lambda runs there too.
    need npm npm "fetches the headless shell, which this system has no package of"
    need node nodejs "unpacks it"
    chromium_from_npm=1
  fi
}

# fetch_chromium: where the system has no package, unpacks the headless shell that @sparticuz/chromium carries, with a
# launcher in ~/.local/bin that finds the libraries beside it.
fetch_chromium() {
  [ -n "${chromium_from_npm:-}" ] || return 0
  local folder=$HOME/.local/lib/rmx-chromium launcher=$HOME/.local/bin/chromium-headless-shell scratch
  scratch=$(mktemp -d)
  echo "Unpacking a headless shell into $folder (npm package @sparticuz/chromium, x86-64)" >&2
  mkdir -p "$folder" "${launcher%/*}"
  (
    cd "$scratch"
    npm pack --silent @sparticuz/chromium@147.0.0 >/dev/null
    tar xzf sparticuz-chromium-*.tgz
    FOLDER=$folder node -e '
      const {brotliDecompressSync} = require("node:zlib");
      const {readFileSync, writeFileSync, chmodSync} = require("node:fs");
      const folder = process.env.FOLDER;
      writeFileSync(`${folder}/chromium`, brotliDecompressSync(readFileSync("package/bin/chromium.br")));
      chmodSync(`${folder}/chromium`, 0o755);
      writeFileSync("libraries.tar", brotliDecompressSync(readFileSync("package/bin/al2023.tar.br")));'
    tar xf libraries.tar
    find . -name '*.so*' -exec cp -n {} "$folder/" \;
  )
  rm -rf "$scratch"
  cat >"$launcher" <<END
#!/bin/sh
LD_LIBRARY_PATH=$folder\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec $folder/chromium "\$@"
END
  chmod +x "$launcher"
}

# export_chromium: puts the headless shell into PATH, where it is not yet.
export_chromium() {
  local found
  found=$(find_chromium) || { echo "No headless Chromium was found or installed." >&2; return 1; }
  case :$PATH: in
    *":${found%/*}:"*) ;;
    *) [ -n "${RMX_CHROMIUM:-}" ] || export PATH="$PATH:${found%/*}" ;;
  esac
}

need_rust() {
  command -v cargo >/dev/null 2>&1 && return
  echo "Rust is needed (1.95 or newer): see https://rustup.rs, then run this again." >&2
  return 1
}
