/** A program that makes a server in a folder, to be killed on its way. */
import { initServer } from "../../../src/server/manage/init.ts";

// Loaded first, so that the killing meets the making and not the loading.
await import("reflect-metadata");
await import("@peculiar/x509");
await import("node:sqlite");
await Deno.stdout.write(new TextEncoder().encode("ready\n"));
await initServer({ folder: Deno.args[0] ?? "", addresses: ["manage.example:7022"] });
await Deno.stdout.write(new TextEncoder().encode("done\n"));
