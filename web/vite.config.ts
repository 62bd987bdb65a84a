import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** The server that answers `/v1` while developing with `npm run dev`. */
const api = process.env.AGORA_URL ?? "http://127.0.0.1:8080";

const COMPRESSIBLE = /\.(html|js|css|svg|json|txt)$/;

/**
 * Writes a `.br` and a `.gz` beside every text file of the build, so that the server never compresses at
 * request time. A file that does not become smaller is left alone.
 */
function precompress(): Plugin {
  let outDir = "dist";
  return {
    name: "precompress",
    apply: "build",
    configResolved(config) {
      outDir = join(config.root, config.build.outDir);
    },
    closeBundle() {
      for (const entry of readdirSync(outDir, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !COMPRESSIBLE.test(entry.name)) continue;
        const path = join(entry.parentPath, entry.name);
        const plain = readFileSync(path);
        const brotli = brotliCompressSync(plain, {
          params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length },
        });
        const gzip = gzipSync(plain, { level: 9 });
        if (brotli.length < plain.length) writeFileSync(`${path}.br`, brotli);
        if (gzip.length < plain.length) writeFileSync(`${path}.gz`, gzip);
      }
    },
  };
}

export default defineConfig({
  plugins: [precompress()],
  server: { proxy: { "/v1": { target: api, ws: true } } },
  build: {
    target: "es2022",
    // Everything comes from files of our own origin: the content security policy allows no inline data.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: { include: ["src/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
