#!/usr/bin/env python3
"""What a call costs in Tollgate, beside nginx (and a bare hyper proxy) as plain proxies, in the same run.

Needs Python, nginx, wrk and taskset; nothing from elsewhere. What is measured is pinned to core 0; its upstream and the load
are on core 1. Subject and baselines take turns and the medians count. Cost is the processor time of the measured process as
the kernel counts it for each thread, so that other work on the machine disturbs it little; latency is on the wall, and is only
worth something on a quiet machine.

    cargo build --release -p tollgate --no-default-features
    cargo bench -p gateway --bench bare --no-run
    tests/bench/proxy.py --tollgate target/release/tollgate --bare target/release/deps/bare-*

What is called `beside` needs a binary with the query service in it, built without `--no-default-features`.

On an embedded log the process does the work of metering too, on the same core: both the threads of the gateway alone and the
whole process are given.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HOST = "127.0.0.1"
UPSTREAM, PACED, PACED_OPS, NGINX, NGINX_PACED, TOLLGATE, OPS, BARE, SPARE = range(18401, 18410)
KEY = "tg-bench-key"
TOKEN = "tg-bench-token"
# Hundreds of millions of rows through a join, an expression and a sum: seconds of each core that it may have.
HEAVY = """SELECT sum((a.value * b.value) % 7) FROM generate_series(1, 20000) AS a(value), generate_series(1, 20000) AS b(value)"""
FRAMES = 64
# A frame of the sandbox is four tokens; its first and last two frames have none.
PACED_MODEL = "sandbox/%d" % (4 * (FRAMES - 3))
# The threads that would be in another process if the roles were apart.
NOT_GATEWAY = ("metering",)


def answer():
    """A completion of about 1 kB."""
    body = {
        "id": "chatcmpl-BenchBenchBenchBenchBenchBench",
        "object": "chat.completion",
        "created": 1795000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": 24, "completion_tokens": 96, "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
    room = 1024 - len(json.dumps(body))
    body["choices"][0]["message"]["content"] = ("The gate counts each token that passes. " * 20)[:room]
    return json.dumps(body)


def burst():
    """A stream of 64 frames, the last but one with the usage, in one piece."""
    head = {"id": "chatcmpl-Bench", "object": "chat.completion.chunk", "created": 1795000000,
            "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_0123456789"}
    choice = lambda delta, end=None: [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}]
    frames = [dict(head, choices=choice({"role": "assistant", "content": ""}), usage=None)]
    frames += [dict(head, choices=choice({"content": " token"}), usage=None) for _ in range(FRAMES - 4)]
    frames += [dict(head, choices=choice({}, "stop"), usage=None)]
    frames += [dict(head, choices=[], usage={"prompt_tokens": 24, "completion_tokens": 60, "total_tokens": 84})]
    text = "".join("data: %s\n\n" % json.dumps(frame, separators=(",", ":")) for frame in frames)
    return text + "data: [DONE]\n\n"


def messages():
    """The same stream as Anthropic sends it: 64 events."""
    start = {"type": "message_start", "message": {
        "id": "msg_Bench", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 24, "cache_read_input_tokens": 0, "output_tokens": 1}}}
    events = [start, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
    token = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " token"}}
    events += [token for _ in range(FRAMES - 5)]
    events += [{"type": "content_block_stop", "index": 0}, {
        "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 60}},
        {"type": "message_stop"}]
    return "".join("event: %s\ndata: %s\n\n" % (event["type"], json.dumps(event, separators=(",", ":"))) for event in events)


def message_request(model):
    return json.dumps({"model": model, "stream": True, "max_tokens": 4096, "messages": [
        {"role": "user", "content": "Say something about gates, please, in a few words and without a list."}]})


def response_request(model):
    return json.dumps({"model": model, "stream": True, "max_output_tokens": 4096,
                       "input": "Say something about gates, please, in a few words and without a list."})


def request(model, stream=False, size=0, image=False):
    content = "Say something about gates, please, in a few words and without a list."
    if image:
        url = "data:image/png;base64," + "iVBORw0KGgo" * (size // 11 - 24)
        content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": {"url": url}}]
    elif size:
        line = 'It is said that the gate counts each token that passes, and writes "it" down.\n'
        content = (line * (size // len(line) + 1))[:size * 96 // 100]
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 4096}
    if stream:
        body.update(stream=True, stream_options={"include_usage": True})
    text = json.dumps(body)
    # JSON ends where it ends; what is left of the size is room.
    return text + " " * (size - len(text))


NGINX_CONF = """
daemon off; {user} worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 64m; tcp_nodelay on;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  {body}
}}
"""


def nginx_upstream():
    # A word of nginx's configuration has at most 4 kB.
    def stream(name, text):
        pieces = [text[at:at + 3000] for at in range(0, len(text), 3000)]
        told = "".join(f"set ${name}{at}x '{piece}'; " for at, piece in enumerate(pieces))
        put = "".join(f"${{{name}{at}x}}" for at in range(len(pieces)))
        return f"location /{name}/ {{ default_type text/event-stream; {told} return 200 '{put}'; }}"
    return f"""
  server {{ listen {HOST}:{UPSTREAM} backlog=4096; client_body_buffer_size 64k;
    {stream("burst", burst())}
    {stream("claude", messages())}
    location / {{ default_type application/json; return 200 '{answer()}'; }} }}"""


def nginx_proxy():
    servers = ""
    for listen, to in ((NGINX, UPSTREAM), (NGINX_PACED, PACED)):
        servers += f"""
  upstream u{to} {{ server {HOST}:{to}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{ listen {HOST}:{listen} backlog=4096; proxy_http_version 1.1; proxy_set_header Connection "";
    location /burst/ {{ proxy_pass http://u{to}; proxy_buffering off; }}
    location / {{ proxy_pass http://u{to}; {'proxy_buffering off;' if to == PACED else ''} }} }}"""
    return servers


def tollgate_config(dir):
    limit = lambda name, unit, amount, window, mode: {
        "name": name, "scope": {"tenant": "acme"}, "unit": unit, "amount": amount, "window": window, "mode": mode}
    return {
        "listen": {"gateway": f"{HOST}:{TOLLGATE}", "query": f"{HOST}:{SPARE}", "ops": f"{HOST}:{OPS}"},
        "log": {"kind": "disk", "dir": f"{dir}/log"},
        "lake": {"url": f"{dir}/lake"},
        "providers": [
            {"name": "openai", "dialect": "openai", "base_url": f"http://{HOST}:{UPSTREAM}/v1", "api_key": "sk-bench"},
            {"name": "burst", "dialect": "openai", "base_url": f"http://{HOST}:{UPSTREAM}/burst/v1", "api_key": "sk-bench"},
            {"name": "paced", "dialect": "openai", "base_url": f"http://{HOST}:{PACED}/v1", "api_key": KEY},
            {"name": "claude", "dialect": "anthropic", "base_url": f"http://{HOST}:{UPSTREAM}/claude", "api_key": "sk-bench"},
        ],
        "models": [
            {"name": "gpt-4o-mini", "targets": [{"provider": "openai"}]},
            {"name": "gpt-4o", "targets": [{"provider": "burst"}]},
            {"name": "claude-sonnet-4-5", "targets": [{"provider": "claude"}]},
            {"name": "sandbox/*", "targets": [{"provider": "paced"}]},
        ],
        "tenants": [{"name": "acme", "keys": [{"name": "ci", "key": KEY, "team": "search", "user": "alice"}]}],
        "access": [{"token": TOKEN, "tenants": ["*"]}],
        "limits": [
            limit("usd", "usd", "1000000000.00", "month", "hard"),
            limit("tokens", "tokens", 1000000000000000, "minute", "soft"),
            limit("calls", "requests", 1000000000000, "month", "hard"),
        ],
    }


def paced_config(dir):
    """The upstream of streams whose frames come one by one: Tollgate's own sandbox."""
    return {
        "listen": {"gateway": f"{HOST}:{PACED}", "query": f"{HOST}:{SPARE}", "ops": f"{HOST}:{PACED_OPS}"},
        "log": {"kind": "disk", "dir": f"{dir}/log"},
        "lake": {"url": f"{dir}/lake"},
        "providers": [{"name": "paced", "dialect": "sandbox", "frame_delay": "2ms"},
                      {"name": "slow", "dialect": "sandbox", "frame_delay": "1s"}],
        "models": [{"name": "sandbox/*", "targets": [{"provider": "paced"}]},
                   {"name": "sandbox/1000", "targets": [{"provider": "slow"}]}],
        "tenants": [{"name": "acme", "keys": [{"name": "ci", "key": KEY}]}],
    }


class Bench:
    """The processes of a run and the directory that they work in."""

    def __init__(self, args):
        self.args = args
        self.dir = Path(tempfile.mkdtemp(prefix="tollgate-bench-", dir=args.dir))
        self.running = []

    def start(self, core, *command):
        log = open(self.dir / "output.log", "ab")
        nice = ["nice", "-n", str(self.args.nice)] if self.args.nice else []
        process = subprocess.Popen([*nice, "taskset", "-c", str(core), *map(str, command)], stdout=log, stderr=log)
        self.running.append(process)
        return process

    def nginx(self, name, core, body):
        dir = self.dir / name
        dir.mkdir()
        (dir / "nginx.conf").write_text(NGINX_CONF.format(dir=dir, body=body, user="user root;" if os.geteuid() == 0 else ""))
        return self.start(core, "nginx", "-p", dir, "-c", dir / "nginx.conf")

    def tollgate(self, name, core, config, ops):
        dir = self.dir / name
        dir.mkdir(exist_ok=True)
        (dir / "tollgate.yaml").write_text(json.dumps(config(dir)))
        process = self.start(core, self.args.tollgate, "up", "--config", dir / "tollgate.yaml")
        wait(lambda: urllib.request.urlopen(f"http://{HOST}:{ops}/readyz", timeout=1).status == 200, self.dir)
        return process

    def stop(self):
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        if not self.args.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def wrk(self, port, path, body, connections, pause_ms=0, seconds=None):
        """Drives load from core 1; gives requests and latency percentiles in microseconds."""
        (self.dir / "body").write_text(body)
        script = self.dir / "post.lua"
        script.write_text(f"""
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {KEY}"
wrk.body = io.open("{self.dir}/body"):read("*a")
{f'function delay() return math.random(0, {2 * pause_ms}) end' if pause_ms else ''}
function done(summary, latency)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.errors.status,
    summary.errors.read + summary.errors.write + summary.errors.timeout + summary.errors.connect,
    latency:percentile(50), latency:percentile(99)))
end""")
        seconds = seconds or self.args.seconds
        nice = ["nice", "-n", str(self.args.nice)] if self.args.nice else []
        command = [*nice, "taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s",
                   "-s", str(script), f"http://{HOST}:{port}{path}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        requests, refused, broken, p50, p99 = map(int, re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", said).groups())
        if refused or broken or not requests:
            raise SystemExit(f"the load on port {port} went wrong: {said}\n{(self.dir / 'output.log').read_text()[-2000:]}")
        return requests, p50, p99


def wait(true, dir):
    for _ in range(1200):
        try:
            if true():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"it did not start: {(dir / 'output.log').read_text()[-2000:]}")


def threads(pid):
    """Nanoseconds on a processor of each thread of a process and its children, by name."""
    spent = {}
    pids = [pid] + [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                name = (task / "comm").read_text().strip()
                spent[name] = spent.get(name, 0) + int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass
    return spent


def settled(pid):
    """The same once the process has nothing more to do for what it was sent."""
    before = threads(pid)
    for _ in range(200):
        time.sleep(0.25)
        after = threads(pid)
        if sum(after.values()) - sum(before.values()) < 8_000_000:
            return after
        before = after
    return before


def cost(bench, process, port, path, body, connections):
    """Microseconds of processor time a request: of each thread."""
    bench.wrk(port, path, body, connections, seconds=2)
    before = settled(process.pid)
    requests, _, _ = bench.wrk(port, path, body, connections)
    after = settled(process.pid)
    return {name: (after[name] - before.get(name, 0)) / requests / 1000 for name in after}, requests


def compare(bench, title, baseline, subject, path, body, connections, per=1, unit="request", subject_path=None):
    """Prints the cost of both and their ratio."""
    ours, theirs = [], []
    for _ in range(bench.args.rounds):
        theirs.append(cost(bench, baseline[1], baseline[2], path, body, connections))
        ours.append(cost(bench, subject[1], subject[2], subject_path or path, body, connections))
    total = lambda cost: sum(cost[0].values()) / per
    gateway = lambda cost: sum(us for name, us in cost[0].items() if name not in NOT_GATEWAY) / per
    base = statistics.median(map(total, theirs))
    whole, alone = statistics.median(map(total, ours)), statistics.median(map(gateway, ours))
    print(f"{title}, {connections} connections, µs of processor a {unit}:")
    print(f"  {baseline[0]:<22} {base:8.2f}   rounds {[round(total(c), 2) for c in theirs]}")
    print(f"  {'tollgate, gateway':<22} {alone:8.2f}   ratio {alone / base:.2f}   rounds {[round(gateway(c), 2) for c in ours]}")
    print(f"  {'tollgate, all of it':<22} {whole:8.2f}   ratio {whole / base:.2f}")
    names = sorted(ours[-1][0], key=lambda name: -ours[-1][0][name])
    print("   ", ", ".join(f"{name} {ours[-1][0][name] / per:.2f}" for name in names if ours[-1][0][name] / per >= 0.005),
          f"(last round, {ours[-1][1]} requests)", flush=True)


def latency(bench, nginx, tollgate):
    """At 1,000 calls a second, from 32 clients that think at random; what the upstream itself takes is told apart."""
    body, rows = request("gpt-4o-mini"), {}
    for _ in range(bench.args.rounds):
        for name, port in (("direct", UPSTREAM), ("nginx", nginx[2]), ("tollgate", tollgate[2])):
            requests, p50, p99 = bench.wrk(port, "/v1/chat/completions", body, 32, pause_ms=31, seconds=10)
            rows.setdefault(name, []).append((p50, p99, requests / 10))
    middle = {name: [statistics.median(column) for column in zip(*row)] for name, row in rows.items()}
    print("latency at about 1,000 calls a second, µs on the wall:")
    for name, (p50, p99, rate) in middle.items():
        print(f"  {name:<22} p50 {p50:6.0f}   p99 {p99:6.0f}   at {rate:.0f} a second   rounds' p99 {[r[1] for r in rows[name]]}")
    for index, name in enumerate(("p50", "p99")):
        added = {who: middle[who][index] - middle["direct"][index] for who in ("nginx", "tollgate")}
        print(f"  {name} added: nginx {added['nginx']:.0f}, tollgate {added['tollgate']:.0f}, ratio "
              f"{added['tollgate'] / max(added['nginx'], 1):.2f}; of the whole latency {middle['tollgate'][index] / middle['nginx'][index]:.2f}",
              flush=True)


def beside(bench):
    """The same calls to a process on one core that answers a heavy question all the while, and by turns has none to answer."""
    process = bench.tollgate("beside", 0, tollgate_config, OPS)
    body, rows = request("gpt-4o-mini"), {False: [], True: []}
    ask = urllib.request.Request(f"http://{HOST}:{SPARE}/v1/sql", json.dumps({"sql": HEAVY}).encode(),
                                 {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"})
    over, answered, failed = threading.Event(), [], []

    def asking():
        while not over.is_set():
            try:
                urllib.request.urlopen(ask, timeout=120).read()
                answered.append(time.monotonic())
            except OSError as error:
                failed.append(error)
                return

    bench.wrk(TOLLGATE, "/v1/chat/completions", body, 32, pause_ms=31, seconds=2)
    for _ in range(bench.args.rounds):
        for heavy in (False, True):
            over.clear()
            asker = threading.Thread(target=asking)
            if heavy:
                asker.start()
                time.sleep(0.5)
            requests, p50, p99 = bench.wrk(TOLLGATE, "/v1/chat/completions", body, 32, pause_ms=31, seconds=10)
            over.set()
            if heavy:
                asker.join()
                if failed:
                    raise SystemExit(f"the question failed: {failed[0]}")
            rows[heavy].append((p50, p99, requests / 10))
    print("calls at about 1,000 a second to a process on one core, µs on the wall:")
    for heavy, name in ((False, "alone"), (True, "beside a heavy query")):
        p50, p99, rate = map(statistics.median, zip(*rows[heavy]))
        print(f"  {name:<22} p50 {p50:6.0f}   p99 {p99:6.0f}   at {rate:.0f} a second   rounds' p99 {[r[1] for r in rows[heavy]]}")
    alone, loaded = (statistics.median(row[1] for row in rows[heavy]) for heavy in (False, True))
    print(f"  p99 {loaded / alone:.2f} times what it is alone; {len(answered)} questions were answered", flush=True)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    bench.running.remove(process)


def resident(pid, what="VmRSS"):
    return int(re.search(what + r":\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


async def open_streams(port, count):
    """Opens streams and reads what comes; gives the readers once each has had its first frame."""
    body = request("sandbox/1000", stream=True).encode()
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n").encode()

    async def one():
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head + body)
        await writer.drain()
        first = await reader.read(65536)
        if b" 200 " not in first[:20]:
            raise SystemExit(f"a stream was refused: {first[:500]}")
        return asyncio.create_task(drain(reader)), writer

    async def drain(reader):
        while await reader.read(65536):
            pass

    opened = []
    while len(opened) < count:
        opened += await asyncio.gather(*(one() for _ in range(min(50, count - len(opened)))))
    return opened


def memory(bench):
    """Resident memory of a fresh process: idle, and with 1,000 open streams to an upstream in another process."""
    process = bench.tollgate("memory", "0,1", lambda dir: tollgate_config(dir), OPS)
    time.sleep(2)
    idle = resident(process.pid)

    async def run():
        opened = await open_streams(TOLLGATE, 1000)
        await asyncio.sleep(5)
        seen = resident(process.pid)
        alive = sum(not task.done() for task, _ in opened)
        for task, writer in opened:
            task.cancel()
            writer.close()
        return seen, alive

    streams, alive = asyncio.run(run())
    print(f"resident, gateway and metering in one process: idle {idle:.1f} MB, with {alive} open streams {streams:.1f} MB", flush=True)
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def translated(bench, gate):
    """A stream that is passed on and the same one translated, by turns: what the gateway's threads spend on each."""
    chat, spoken, asked = "/v1/chat/completions", "/v1/messages", "/v1/responses"
    bodies = {chat: lambda model: request(model, stream=True), spoken: message_request, asked: response_request}
    # OpenAI takes its responses itself: what is asked of it that way is passed on, so there is nothing to measure.
    for provider, model, paths in (
        ("OpenAI's chat, all at once", "gpt-4o", (chat, spoken)),
        ("Anthropic's messages, all at once", "claude-sonnet-4-5", (spoken, chat, asked)),
        ("OpenAI's chat, one by one", PACED_MODEL, (chat, spoken)),
    ):
        passed, *others = [(path, bodies[path](model)) for path in paths]
        rows = {path: [] for path, _ in (passed, *others)}
        for _ in range(bench.args.rounds):
            for path, body in (passed, *others):
                spent, _ = cost(bench, gate[1], gate[2], path, body, 64)
                rows[path].append(sum(us for name, us in spent.items() if name not in NOT_GATEWAY))
        base = statistics.median(rows[passed[0]])
        print(f"streams of {FRAMES} frames of {provider}; 64 connections, µs of the gateway's threads a stream:")
        for path, found in rows.items():
            middle = statistics.median(found)
            print(f"  {path:<22} {middle:8.1f}   ratio {middle / base:.2f}   rounds {[round(us, 1) for us in found]}", flush=True)


def held(bench):
    """The most memory that requests of 1 MB take of a fresh process, by the number of connections that send them."""
    for connections in (16, 64):
        process = bench.tollgate(f"held{connections}", "0", tollgate_config, OPS)
        time.sleep(2)
        idle = resident(process.pid)
        bench.wrk(TOLLGATE, "/v1/chat/completions", request("gpt-4o-mini", size=1_000_000, image=True), connections)
        most = resident(process.pid, "VmHWM")
        print(f"requests of 1 MB over {connections} connections: idle {idle:.1f} MB, at most {most:.1f} MB, "
              f"{(most - idle) / connections:.2f} MB a connection", flush=True)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        bench.running.remove(process)


KINDS = ("answer", "burst", "paced", "large", "latency", "memory", "translated", "held", "beside")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", default="target/release/tollgate")
    parser.add_argument("--bare", help="the bench `bare` of the gateway: the baseline of large requests")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--nice", type=int, default=0, help="of everything that is started")
    parser.add_argument("--only", nargs="*", choices=KINDS, default=[kind for kind in KINDS if kind != "beside"])
    parser.add_argument("--dir", default=None, help="where the log is written; a real disk")
    parser.add_argument("--keep", action="store_true", help="leave the directory")
    args = parser.parse_args()
    bench = Bench(args)
    try:
        run(bench, args.only)
    finally:
        bench.stop()


def run(bench, only):
    bench.nginx("upstream", 1, nginx_upstream())
    # Before others that would answer questions at the same address.
    if "beside" in only:
        beside(bench)
    bench.tollgate("paced", 1, paced_config, PACED_OPS)
    if "memory" in only:
        memory(bench)
    if "held" in only:
        held(bench)
    if set(only) <= {"memory", "held", "beside"}:
        return
    proxy = bench.nginx("proxy", 0, nginx_proxy())
    nginx, paced = ("nginx", proxy, NGINX), ("nginx", proxy, NGINX_PACED)
    gate = ("tollgate", bench.tollgate("subject", 0, tollgate_config, OPS), TOLLGATE)
    chat = "/v1/chat/completions"
    if "answer" in only:
        compare(bench, "answers of 1 kB", nginx, gate, chat, request("gpt-4o-mini"), 64)
    if "burst" in only:
        compare(bench, f"streams of {FRAMES} frames that come at once", nginx, gate, "/burst" + chat,
                request("gpt-4o", stream=True), 64, FRAMES, "frame", subject_path=chat)
    if "translated" in only:
        translated(bench, gate)
    if "paced" in only:
        compare(bench, f"streams of {FRAMES} frames that come one by one", paced, gate, chat,
                request(PACED_MODEL, stream=True), 64, FRAMES, "frame")
    if "large" in only and bench.args.bare:
        bare = bench.start(0, bench.args.bare, "--listen", f"{HOST}:{BARE}", "--to", f"{HOST}:{UPSTREAM}")
        time.sleep(1)
        for what, image in (("an image", True), ("text with an escape every 26 bytes", False)):
            compare(bench, f"requests of 1 MB, {what}", ("bare hyper", bare, BARE), gate, chat,
                    request("gpt-4o-mini", size=1_000_000, image=image), 8)
    if "latency" in only:
        latency(bench, nginx, gate)


if __name__ == "__main__":
    sys.exit(main())
