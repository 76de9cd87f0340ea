import "./style.css";
import "./source.css";
import "./mixer.css";
import { App } from "./app";

new App();
