/** What an operator reads when a packet is refused: why, and by which values, if it is authentic; else next to nothing. */
import assert from "node:assert/strict";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { commandHash } from "../../../src/protocol/knock/command_hash.ts";
import {
  encodePlaintext,
  type KnockFields,
  NONCE_BYTES,
  sealPlaintext,
} from "../../../src/protocol/knock/packet.ts";
import { ReplayFloors } from "../../../src/protocol/knock/replay.ts";
import { Intake } from "../../../src/server/knock/intake.ts";
import { Judge, type JudgeKey, type JudgePolicy } from "../../../src/server/knock/judge.ts";
import { shortList } from "../../../src/server/knock/refusal_facts.ts";
import { REFUSAL_REASONS } from "../../../src/server/knock/refusal.ts";
import { Log } from "../../../src/system/log.ts";
import { ELSEWHERE_IP, FakeClock, flipBit, HOME_IP, Knocker, NS_PER_SECOND, SERVER_IP } from "./knocks.ts";

/** A server without its sockets, with one key and one knock to be refused. */
class Scene {
  readonly clock = new FakeClock();
  readonly nowNs = this.clock.wallNs();
  readonly knocker = new Knocker(() => this.nowNs);
  readonly lines: string[] = [];
  room = true;
  isDiskFull = false;
  floors = new ReplayFloors(new Map([[this.knocker.key.id, this.nowNs - 3600n * NS_PER_SECOND]]));
  key: JudgeKey = { stem: "alice", key: this.knocker.key, allow: null, maxPacketAgeNs: 0n, notAfterMs: null };
  policy: Partial<JudgePolicy> = {};

  /** The refusal's line, without time and role. */
  async receive(packet: Uint8Array, peer: string = HOME_IP, times = 1): Promise<string> {
    const judge = new Judge(
      {
        keys: [this.key],
        ips: new Set([SERVER_IP]),
        maxClockSkewNs: 3600n * NS_PER_SECOND,
        rates: { perPeer: 9, perKey: 9, global: 9 },
        ...this.policy,
      },
      { floors: this.floors, clock: this.clock, random: () => 0.999, decryptsPerSecond: 40 },
    );
    const intake = new Intake({
      commit: () => this.isDiskFull ? Promise.reject(new Error("no space left")) : Promise.resolve(),
      forward: () => this.room,
      log: new Log({ role: "server", format: "text", write: (line) => this.lines.push(line) }),
      clock: this.clock,
    });
    for (let n = 0; n < times; n++) intake.take(judge.receive(packet, peer));
    await intake.settled();
    const line = this.lines.findLast((each) => each.includes("packet refused"));
    return line?.replace(/^\S+ WARN server: /, "").trimEnd() ?? "none";
  }

  knock(fields: Partial<KnockFields> = {}, peer?: string): Promise<string> {
    return this.receive(this.seal(fields), peer);
  }

  seal(fields: Partial<KnockFields> = {}, version = 1): Uint8Array {
    const plaintext = encodePlaintext({
      commandHash: commandHash("restart"),
      counter: this.nowNs,
      strict: false,
      sourceIp: null,
      destinationIp: SERVER_IP,
      ...fields,
    });
    plaintext[0] = version;
    return sealPlaintext(this.knocker.key, plaintext, crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  }
}

const NOW = "1798761600000000000";
const WHO = `key=alice command=#620291de542ec7fe counter=${NOW}`;
const SPENT = `key=alice command=#620291de542ec7fe ip=${HOME_IP} counter=${NOW}`;

/** A refusal for each reason, and the whole of its line behind `reason=` and `peer=`. */
const cases: Record<string, { refuse: (scene: Scene) => Promise<string>; tells: string; peer?: string }> = {
  length: { refuse: (scene) => scene.receive(new Uint8Array(93)), tells: "" },
  unknown_key: { refuse: (scene) => scene.receive(new Uint8Array(94)), tells: "" },
  decrypt_budget: {
    refuse: (scene) => scene.receive(flipBit(scene.seal(), 300), ELSEWHERE_IP, 500),
    tells: "",
    peer: ELSEWHERE_IP,
  },
  authentication: { refuse: (scene) => scene.receive(flipBit(scene.seal(), 300)), tells: "" },
  version: {
    refuse: (scene) => scene.receive(scene.seal({}, 7)),
    tells: 'key=alice error="cannot read plaintext: found version 7, accepted is 1"',
  },
  replayed: {
    refuse: async (scene) => {
      await scene.knock();
      return await scene.knock();
    },
    tells: `${WHO} floor=${NOW}`,
  },
  no_floor: {
    refuse: (scene) => {
      scene.floors = new ReplayFloors(new Map());
      return scene.knock();
    },
    tells: WHO,
  },
  beyond_skew: {
    refuse: (scene) => scene.knock({ counter: scene.nowNs + 7200n * NS_PER_SECOND }),
    tells:
      "key=alice command=#620291de542ec7fe counter=1798768800000000000 skew_seconds=7200 max_skew_seconds=3600",
  },
  too_old: {
    refuse: (scene) => {
      scene.key = { ...scene.key, maxPacketAgeNs: 300n * NS_PER_SECOND };
      return scene.knock({ counter: scene.nowNs - 301n * NS_PER_SECOND });
    },
    tells:
      "key=alice command=#620291de542ec7fe counter=1798761299000000000 age_seconds=301 max_age_seconds=300",
  },
  destination: {
    refuse: (scene) => scene.knock({ destinationIp: parseIp("2001:db8::5") }),
    tells: `${WHO} destination=2001:db8::5 ips=${SERVER_IP}`,
  },
  source: {
    refuse: (scene) => scene.knock({ strict: true, sourceIp: HOME_IP }, ELSEWHERE_IP),
    tells: `${WHO} source=${HOME_IP}`,
    peer: ELSEWHERE_IP,
  },
  command_not_allowed: {
    refuse: (scene) => {
      scene.key = { ...scene.key, allow: new Set([commandHash("open_port")]) };
      return scene.knock();
    },
    tells: `${SPENT} allowed=#9b93083959d8550a`,
  },
  peer_rate: {
    refuse: (scene) => {
      scene.policy = { rates: { perPeer: 0, perKey: 9, global: 9 } };
      return scene.knock();
    },
    tells: `${SPENT} max_per_second=0`,
  },
  key_rate: {
    refuse: (scene) => {
      scene.policy = { rates: { perPeer: 9, perKey: 0, global: 9 } };
      return scene.knock();
    },
    tells: `${SPENT} max_per_second=0`,
  },
  global_rate: {
    refuse: (scene) => {
      scene.policy = { rates: { perPeer: 9, perKey: 9, global: 0 } };
      return scene.knock();
    },
    tells: `${SPENT} max_per_second=0`,
  },
  floor_not_durable: {
    refuse: (scene) => {
      scene.isDiskFull = true;
      // What the judge had against it counts no more, and is not told.
      scene.key = { ...scene.key, allow: new Set() };
      return scene.knock();
    },
    tells: `${SPENT} error="no space left"`,
  },
  queue_full: {
    refuse: (scene) => {
      scene.room = false;
      return scene.knock();
    },
    tells: SPENT,
  },
};

for (const reason of REFUSAL_REASONS) {
  const row = cases[reason];
  Deno.test(`the line of a packet refused for ${reason} tells ${row?.tells === "" ? "the peer alone" : "why"}`, async () => {
    assert(row !== undefined, `no case for ${reason}`);
    const line = (await row.refuse(new Scene())).replace(/ suppressed=\d+$/, "");
    const tells = row.tells === "" ? "" : ` ${row.tells}`;
    assert.equal(line, `packet refused reason=${reason} peer=${row.peer ?? HOME_IP}${tells}`);
  });
}

Deno.test("a strict packet from a peer whose address cannot be read is refused with the key's name", async () => {
  const line = await new Scene().knock({}, "somewhere");
  assert.equal(line, `packet refused reason=source peer=somewhere ${WHO} suppressed=0`);
});

Deno.test("a refusal's line is bounded, however long the lists of the configuration are", async () => {
  const scene = new Scene();
  scene.policy = { ips: new Set(Array.from({ length: 200 }, (_, n) => parseIp(`192.0.2.${n}`))) };
  const line = await scene.knock({ destinationIp: ELSEWHERE_IP });
  assert.match(line, / ips=192\.0\.2\.0,192\.0\.2\.1,192\.0\.2\.2,192\.0\.2\.3,\+196 suppressed=0$/);
});

Deno.test("shortList() shows four values and counts the rest", () => {
  assert.equal(shortList([]), "none");
  assert.equal(shortList(["a", "b", "c", "d"]), "a,b,c,d");
  assert.equal(shortList(["a", "b", "c", "d", "e", "f"]), "a,b,c,d,+2");
});
