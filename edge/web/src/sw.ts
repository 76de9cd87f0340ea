/**
 * The service worker: answers from what it has kept, else from the server the page came from.
 *
 * It sends the headers that `mmdense serve` sends, so that the page has threads on any host.
 */

// TypeScript has these in the types of workers alone, which do not go together with those of pages.
interface Extendable extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetched extends Extendable {
  request: Request;
  respondWith(response: Promise<Response>): void;
}
interface Told extends Extendable, MessageEvent<string[]> {}
interface Scope {
  clients: { claim(): Promise<void> };
  addEventListener(kind: "install" | "activate", act: (event: Extendable) => void): void;
  addEventListener(kind: "fetch", act: (event: Fetched) => void): void;
  addEventListener(kind: "message", act: (event: Told) => void): void;
}

// The build puts the page's files and a name made of their contents here.
const FILES: string[] = __FILES__;
const NAME = `mmdense-${__VERSION__}`;

const scope = self as unknown as Scope;

async function keep(urls: string[]): Promise<void> {
  const cache = await caches.open(NAME);
  for (const url of urls) {
    // Past the browser's own cache, which may hold an older version of the page.
    if (!(await cache.match(url))) await cache.add(new Request(url, { cache: "no-cache" }));
  }
}

async function dropOld(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith("mmdense-") && name !== NAME);
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function answer(request: Request): Promise<Response> {
  const kept = await caches.match(request, { ignoreVary: true });
  const response = kept ?? (await fetch(request));
  if (!response.ok) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(__HEADERS__)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}

scope.addEventListener("install", (event) => event.waitUntil(keep(FILES)));
scope.addEventListener("activate", (event) => event.waitUntil(dropOld().then(() => scope.clients.claim())));
scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const isOwn = new URL(request.url).origin === location.origin;
  if (request.method === "GET" && isOwn) event.respondWith(answer(request));
});
scope.addEventListener("message", (event) => {
  const port = event.ports[0]!;
  event.waitUntil(
    keep(event.data).then(
      () => port.postMessage(true),
      () => port.postMessage(false),
    ),
  );
});
