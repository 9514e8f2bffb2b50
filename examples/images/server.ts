/**
 * Works on images without copying them: with the view codec, `pixels` lies in the memory that the socket was read into.
 *
 *   deno run --allow-net --allow-read --allow-write examples/images/server.ts images.sock
 */
// deno-lint-ignore-file no-console
import { Node, unix, viewCodec } from "@postern/postern";
import { images } from "./contract.ts";

const running = await new Node({ codec: viewCodec() })
  .serve(images, unix(Deno.args[0]), {
    histogram: ({ pixels }) => {
      const counts = new Uint32Array(256);
      for (const value of pixels) counts[value] = (counts[value] ?? 0) + 1;
      return counts;
    },
    invert: ({ pixels }) => {
      // In place: the memory is this call's until it returns. What is to stay longer must be copied (`pixels.slice()`),
      // for afterwards the view is empty.
      for (let at = 0; at < pixels.length; at++) pixels[at] = 255 - (pixels[at] ?? 0);
      return pixels;
    },
  })
  .start();

console.log("listening on", ...running.addresses);
