/**
 * Where the stems' samples lie: in the browser's own file system, so that a long song does not fill
 * the memory; in memory where the browser has none or the page is not in a secure context.
 */

const FOLDER = "stems-";

// TypeScript has this in the types of workers alone, which do not go together with those of pages.
interface WorkerFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<{ write(bytes: Uint8Array): number; flush(): void; close(): void }>;
}

/** Keeps bytes and returns them as a Blob, which reads them when they are needed. */
export interface Storage {
  keep(bytes: Uint8Array<ArrayBuffer>): Promise<Blob>;
  clear(): Promise<void>;
}

class Memory implements Storage {
  async keep(bytes: Uint8Array<ArrayBuffer>): Promise<Blob> {
    return new Blob([bytes]);
  }

  async clear(): Promise<void> {}
}

class Files implements Storage {
  private count = 0;

  constructor(
    private readonly root: FileSystemDirectoryHandle,
    private readonly name: string,
    private readonly folder: FileSystemDirectoryHandle,
    private readonly unlock: () => void,
  ) {}

  async keep(bytes: Uint8Array<ArrayBuffer>): Promise<Blob> {
    const name = String(this.count++);
    const file = (await this.folder.getFileHandle(name, { create: true })) as WorkerFileHandle;
    const access = await file.createSyncAccessHandle();
    try {
      if (access.write(bytes) < bytes.length) {
        throw new DOMException("the file was not written whole", "QuotaExceededError");
      }
      access.flush();
    } finally {
      access.close();
    }
    return file.getFile();
  }

  async clear(): Promise<void> {
    try {
      await remove(this.root, this.name);
    } finally {
      this.unlock();
    }
  }
}

/**
 * Opens a storage for one song and removes those that closed pages left behind.
 *
 * A page holds a lock on its folder's name for as long as it lives.
 */
export async function openStorage(): Promise<Storage> {
  if (!self.isSecureContext || !isSupported()) return new Memory();
  let root: FileSystemDirectoryHandle;
  try {
    root = await navigator.storage.getDirectory();
  } catch {
    return new Memory(); // Firefox refuses it in private windows.
  }
  await sweep(root);
  const name = FOLDER + crypto.randomUUID();
  const unlock = await lock(name);
  return new Files(root, name, await root.getDirectoryHandle(name, { create: true }), unlock);
}

/** Takes a lock and returns what gives it back. */
function lock(name: string): Promise<() => void> {
  return new Promise((taken) => {
    void navigator.locks.request(name, () => new Promise<void>((unlock) => taken(unlock)));
  });
}

function isSupported(): boolean {
  const files = self.FileSystemFileHandle;
  return !!navigator.storage?.getDirectory && !!navigator.locks && !!files && "createSyncAccessHandle" in files.prototype;
}

async function sweep(root: FileSystemDirectoryHandle): Promise<void> {
  const held = new Set((await navigator.locks.query()).held?.map((lock) => lock.name));
  for await (const name of root.keys()) {
    if (name.startsWith(FOLDER) && !held.has(name)) await remove(root, name);
  }
}

/** Removes a folder, if it is there: another page may have swept it away, or the user. */
async function remove(root: FileSystemDirectoryHandle, name: string): Promise<void> {
  try {
    await root.removeEntry(name, { recursive: true });
  } catch (error) {
    if ((error as Error).name !== "NotFoundError") throw error;
  }
}
