/* Browsers start no worker from a disk. If the site is opened there, its search runs in a frame. */
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const scope = frame.contentWindow;
      scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.postMessage = (data) => loaded.then(() => scope.dispatchEvent(new MessageEvent("message", { data })));
      const loaded = new Promise((resolve) => {
        const script = scope.document.createElement("script");
        script.onload = resolve;
        script.src = url;
        scope.document.body.append(script);
      });
    }
  };
