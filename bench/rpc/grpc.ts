/**
 * `@grpc/grpc-js` with a service of one unary method, whose messages are written by hand: bytes as they are, text
 * as UTF-8. No protobuf, because what that would cost is not what is compared.
 */
import * as grpc from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import type { Body, Caller, Payload, Program, Server, Wire } from "./subject.ts";

const MIB = 1024 * 1024;
/** HTTP/2 begins with windows of 64 KiB; bodies of 1 MiB should not have to wait for credit. */
const OPTIONS = { "grpc-node.flow_control_window": 16 * MIB };
const PATH = "/bench.Echo/Echo";

interface MessageForm {
  readonly serialize: (body: Body) => Buffer;
  readonly deserialize: (bytes: Buffer) => Body;
}

const FORMS: Readonly<Record<Payload, MessageForm>> = {
  text: {
    serialize: (body) => Buffer.from(body),
    deserialize: (bytes) => bytes.toString(),
  },
  bytes: {
    // No copy: the same memory as a Buffer.
    serialize: (body) =>
      typeof body === "string" ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.length),
    deserialize: (bytes) => bytes as Uint8Array<ArrayBuffer>,
  },
};

function serve(wire: Wire, address: string, payload: Payload): Promise<Server> {
  const { serialize, deserialize } = FORMS[payload];
  const server = new grpc.Server(OPTIONS);
  server.addService({
    echo: {
      path: PATH,
      requestStream: false,
      responseStream: false,
      requestSerialize: serialize,
      requestDeserialize: deserialize,
      responseSerialize: serialize,
      responseDeserialize: deserialize,
    },
  }, {
    echo: (call: grpc.ServerUnaryCall<Body, Body>, answer: grpc.sendUnaryData<Body>) =>
      answer(null, call.request),
  });
  return new Promise((resolve, reject) => {
    const target = wire === "unix" ? `unix:${address}` : address;
    server.bindAsync(target, grpc.ServerCredentials.createInsecure(), (error, port) => {
      if (error !== null) return reject(error);
      resolve({ address: wire === "unix" ? address : `127.0.0.1:${port}` });
    });
  });
}

function connect(wire: Wire, address: string, payload: Payload): Promise<Caller> {
  const { serialize, deserialize } = FORMS[payload];
  const client = new grpc.Client(
    wire === "unix" ? `unix:${address}` : address,
    grpc.credentials.createInsecure(),
    OPTIONS,
  );
  return Promise.resolve({
    echo: (body) =>
      new Promise<Body>((resolve, reject) => {
        client.makeUnaryRequest(PATH, serialize, deserialize, body, (error, answer) => {
          if (error !== null || answer === undefined) reject(error);
          else resolve(answer);
        });
      }),
  });
}

export const grpcJs: Program = { serve, connect };
