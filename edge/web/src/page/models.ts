/** The bundled models: the list that the build made of the models' folder. */
import { PlainError } from "../errors";

export interface ModelEntry {
  name: string;
  title: string;
  url: string;
  bytes: number;
  precision: string;
  isDefault: boolean;
  /** Whether its network takes one frame at a time: for live runs. */
  isCausal: boolean;
}

export async function listModels(): Promise<ModelEntry[]> {
  return (await (await get("models.json")).json()) as ModelEntry[];
}

/** Fetches a model file, telling the share that is there. */
export async function fetchModel(
  entry: ModelEntry,
  onProgress: (share: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await get(entry.url);
  const data = new Uint8Array(entry.bytes);
  let at = 0;
  for (const reader = response.body!.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > data.length) throw changed(entry);
    data.set(value, at);
    at += value.length;
    onProgress(at / data.length);
  }
  if (at < data.length) throw changed(entry);
  return data;
}

function changed(entry: ModelEntry): PlainError {
  return new PlainError(`The model ${entry.name} is not ${entry.bytes} bytes long: load the page again.`);
}

async function get(url: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch {
    throw new PlainError(`${url} could not be fetched: go online once, then the page works offline.`);
  }
  if (!response.ok) throw new PlainError(`${url} could not be fetched (${response.status}): load the page again.`);
  return response;
}
