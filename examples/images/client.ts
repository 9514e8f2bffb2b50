/**
 * Sends an image to server.ts, which must be running.
 *
 *   deno run --allow-net --allow-read --allow-write examples/images/client.ts images.sock
 */
// deno-lint-ignore-file no-console
import { Node, unix, viewCodec } from "@postern/postern";
import { images } from "./contract.ts";

await using client = await new Node({ codec: viewCodec() }).connect(images, unix(Deno.args[0])).start();

const width = 1024, height = 1024;
const image = { width, height, pixels: Uint8Array.from({ length: width * height }, (_, at) => at % 256) };

const histogram = await client.histogram(image);
console.log("darkest pixels:", histogram[0], "of", width * height);
const inverted = await client.invert(image);
console.log("first pixels:", ...image.pixels.subarray(0, 3), "and inverted:", ...inverted.subarray(0, 3));
