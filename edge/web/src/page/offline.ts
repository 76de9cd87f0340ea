/** Keeps what the page has used, so that it works without a network. */

const RELOADED = "mmdense-reloaded";

/**
 * Registers the service worker; it keeps the page's own files.
 *
 * On a host that does not isolate the page it also sends the headers for that: the page is then loaded
 * again, once and only while `isIdle`. Returns when the page stays: its engine may start.
 */
export async function register(isIdle: () => boolean): Promise<void> {
  if (!("serviceWorker" in navigator)) return; // not in a secure context
  try {
    const registration = await navigator.serviceWorker.register("sw.js");
    if (self.crossOriginIsolated) sessionStorage.removeItem(RELOADED);
    else if (!sessionStorage.getItem(RELOADED)) {
      await active(registration);
      if (!isIdle()) return;
      sessionStorage.setItem(RELOADED, "yes");
      location.reload();
      await new Promise(() => {}); // this page is over
    }
  } catch (error) {
    console.warn(`The page will not work offline: ${(error as Error).message}`);
  }
}

/** Waits until a service worker answers for the page's address. */
function active({ installing }: ServiceWorkerRegistration): Promise<unknown> {
  const failed = new Promise((_, reject) =>
    installing?.addEventListener("statechange", () => {
      if (installing.state === "redundant") reject(new Error("the service worker was not installed"));
    }),
  );
  return Promise.race([navigator.serviceWorker.ready, failed]);
}

/** Keeps more files, the model and the runtime's; returns whether the page now works offline. */
export async function keepOffline(urls: string[]): Promise<boolean> {
  if (!navigator.serviceWorker?.controller && !(await registered())) return false;
  const { active } = await navigator.serviceWorker.ready;
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data === true);
    active!.postMessage(urls, [port2]);
  });
}

async function registered(): Promise<boolean> {
  return (await navigator.serviceWorker?.getRegistration()) !== undefined;
}
