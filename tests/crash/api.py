"""The API beside a running fleet, killed while it acts: each act that has a key of its caller is done once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.request
import uuid
from collections import Counter

from aggregator.access.roles import Role
from aggregator.operations import access
from aggregator.operations.operator import Operator
from aggregator.store.rows import AUDIT
from headway_client import ApiUnreachable, Client
from testbed.broker import die_with_parent
from tests.crash.branch import BIN
from tests.crash.site import Site

USER, ACT = "ada", "command-sync-now"
ANSWER_TIMEOUT_S = 60.0
# from before the request arrives until after its answer
MOMENTS_S = (0.0, 0.08)


class Api:
    """A process of `edge-fleet api` of a site. device: that is commanded."""

    def __init__(self, site: Site, device: str, chance: random.Random) -> None:
        self._site, self._device, self._chance = site, device, chance
        self._log = site.folder / "api.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        self.acts: list[str] = []

    def act(self) -> None:
        """Ask for a command, kill the API at some moment of that, start it and ask again until it answers."""
        client = self._client or self._begin()
        key = str(uuid.uuid4())
        first = threading.Thread(target=self._ask_in_vain, args=(client, key))
        first.start()
        time.sleep(self._chance.uniform(*MOMENTS_S))
        self.end(signal.SIGKILL)
        first.join()
        self._start()
        first_answer, again = self._ask(client, key), self._ask(client, key)
        if first_answer != again:
            raise AssertionError(f"the same key was answered with command {first_answer}, then with {again}")
        self.acts.append(first_answer)

    def problem(self) -> str:
        """Whether an act was lost or done twice; empty when neither."""
        with self._site.store() as store:
            rows = [row for row in store.rows(AUDIT).all() if row.act == ACT and USER in row.who]
        done = sorted(str(json.loads(row.detail)["id"]) for row in rows)
        if done == sorted(self.acts):
            return ""
        answered, entered = Counter(self.acts), Counter(done)
        lost, more = sorted((answered - entered).elements()), sorted((entered - answered).elements())
        return f"of {len(self.acts)} acts with keys that were answered {lost} were not done; done beside them: {more}"

    def end(self, number: int = signal.SIGTERM) -> None:
        """Stop the process, if there is one."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def _begin(self) -> Client:
        with self._site.store() as store:
            operator = Operator(store, "crash", time.time())
            access.put_user(operator, USER, Role.OPERATOR, None)
            token = access.create_token(operator, USER, "crash", None, 86_400.0)
        self._start()
        self._client = Client(f"http://127.0.0.1:{self._site.api_port}", token.token)
        return self._client

    def _start(self) -> None:
        command = [str(BIN / "edge-fleet"), "api", "--config", str(self._site.config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ, preexec_fn=die_with_parent
            )
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._site.api_port}/v1/health", timeout=5):
                    return
            except OSError as error:
                if time.monotonic() > deadline_s or self._process.poll() is not None:
                    raise AssertionError(self._log.read_text()[-2000:]) from error
                time.sleep(0.05)

    def _ask_in_vain(self, client: Client, key: str) -> None:
        try:
            self._ask(client, key)
        except ApiUnreachable:
            return  # it was killed before its answer

    def _ask(self, client: Client, key: str) -> str:
        return client.command_device(self._device, {"name": "sync-now", "expires": "1h"}, key=key)["id"]
