for (const place of document.querySelectorAll(".plot")) {
  const figure = JSON.parse(place.querySelector("script").textContent);
  const canvas = place.querySelector(".canvas");
  Plotly.newPlot(canvas, figure.data, figure.layout, { responsive: true, displayModeBar: false });
}
