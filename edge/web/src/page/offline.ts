/** Keeps what the page has used, so that it works without a network. */

/** Registers the service worker; it keeps the page's own files. */
export async function register(): Promise<void> {
  if (!("serviceWorker" in navigator)) return; // not in a secure context
  try {
    await navigator.serviceWorker.register("sw.js");
  } catch (error) {
    console.warn(`The page will not work offline: ${(error as Error).message}`);
  }
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
