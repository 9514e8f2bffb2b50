/** What server.ts and client.ts agree on. */
import { call, contract } from "@postern/postern";

/** One byte a pixel, row by row. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

export const images = contract({
  histogram: call<Image, Uint32Array>(),
  invert: call<Image, Uint8Array>(),
});
