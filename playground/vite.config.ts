import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** The server that `npm run dev` stands in front of. */
const server = process.env.LOQUAT_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2022",
    // Monaco is one large file, loaded by /graphiql alone; the server is usually on the same machine.
    chunkSizeWarningLimit: 8192,
    rolldownOptions: {
      input: ["index.html", "graphiql.html"],
      // GraphiQL's own files carry a directive for a compiler that has already run.
      onwarn: (warning, warn) => warning.code === "MODULE_LEVEL_DIRECTIVE" || warn(warning),
    },
  },
  server: {
    proxy: { "/graphql": { target: server, ws: true, changeOrigin: true, rewriteWsOrigin: true } },
  },
});
