/** Values that the build puts in. */
declare const __LITERT_VERSION__: string;
declare const __HEADERS__: Record<string, string>;
declare const __FILES__: string[];
declare const __VERSION__: string;
